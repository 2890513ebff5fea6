# The BPF programs: compiled by the clang that the ziglang wheel carries, so that no system compiler of a certain version
# is needed, then linked into one object. -mcpu=v3 (Linux >= 5.12) has the atomic instructions of the ring buffers.
file(GLOB BOXTRACE_BPF_SOURCES CONFIGURE_DEPENDS src/boxtrace/kernel/bpf/*.bpf.c)
file(GLOB BOXTRACE_BPF_HEADERS CONFIGURE_DEPENDS src/boxtrace/kernel/bpf/*.h)
string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
if(processor MATCHES "^(x86_64|amd64)$")
  set(BOXTRACE_BPF_ARCH x86)
elseif(processor MATCHES "^(aarch64|arm64)$")
  set(BOXTRACE_BPF_ARCH arm64)
else()
  message(FATAL_ERROR "no BPF programs for ${CMAKE_SYSTEM_PROCESSOR} yet (x86_64 and arm64 only)")
endif()
pkg_get_variable(BOXTRACE_LIBBPF_INCLUDE libbpf includedir)
set(BOXTRACE_BPF_FLAGS -target bpfel-freestanding-none -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror
    -Wno-unused-parameter -Wno-sign-compare -fno-unwind-tables -fno-asynchronous-unwind-tables -fno-stack-protector
    -D__TARGET_ARCH_${BOXTRACE_BPF_ARCH} -isystem ${BOXTRACE_LIBBPF_INCLUDE}
    -idirafter ${BOXTRACE_LIBBPF_INCLUDE}/${CMAKE_C_LIBRARY_ARCHITECTURE})

add_executable(bpf_link native/tools/bpf_link.c)
target_include_directories(bpf_link PRIVATE ${LIBBPF_INCLUDE_DIRS})
target_link_libraries(bpf_link PRIVATE ${BOXTRACE_LIBBPF_LIBRARIES})

set(BOXTRACE_BPF_OBJECTS "")
foreach(source ${BOXTRACE_BPF_SOURCES})
  get_filename_component(stem ${source} NAME)
  string(REGEX REPLACE "\\.bpf\\.c$" ".bpf.o" object_name ${stem})
  set(object ${CMAKE_CURRENT_BINARY_DIR}/bpf/${object_name})
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/bpf
    COMMAND "${Python_EXECUTABLE}" -m ziglang cc ${BOXTRACE_BPF_FLAGS} -c ${source} -o ${object}
    DEPENDS ${source} ${BOXTRACE_BPF_HEADERS}
    COMMENT "BPF ${object_name}"
    VERBATIM)
  list(APPEND BOXTRACE_BPF_OBJECTS ${object})
endforeach()
set(BOXTRACE_BPF_OBJECT ${CMAKE_CURRENT_BINARY_DIR}/programs.bpf.o)
add_custom_command(
  OUTPUT ${BOXTRACE_BPF_OBJECT}
  COMMAND bpf_link ${BOXTRACE_BPF_OBJECT} ${BOXTRACE_BPF_OBJECTS}
  DEPENDS bpf_link ${BOXTRACE_BPF_OBJECTS}
  COMMENT "BPF programs.bpf.o"
  VERBATIM)
add_custom_target(boxtrace_bpf ALL DEPENDS ${BOXTRACE_BPF_OBJECT})
install(FILES ${BOXTRACE_BPF_OBJECT} DESTINATION boxtrace/kernel/bpf)
