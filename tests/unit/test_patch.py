"""Numbers and addresses that are put into the BPF programs' instructions before they are loaded."""

from boxtrace.kernel.patch import pack_code, replace_immediates

NUMBER, ADDRESS, OTHER = 0x5CA1AB0E, 0x5CA1AB0F, 0x5CA1AB7F
LOAD_64 = 0x18
MAP_VALUE = 2  # BPF_PSEUDO_MAP_VALUE
MOVE = 0xB7


def test_numbers_and_addresses_are_replaced_where_they_are_immediates() -> None:
    data = NUMBER.to_bytes(4, "little") + bytes(4)
    load, second, move, other = (
        (LOAD_64, 3, 0, 0, ADDRESS),
        (0, 0, 0, 0, 0),
        (MOVE, 1, 0, 0, NUMBER),
        (MOVE, 1, 0, 0, OTHER),
    )
    patched = replace_immediates(data + pack_code(load, second, move, other), {NUMBER: 300}, {ADDRESS: 42})
    # the descriptor is in the first half, the offset into the value in the second
    load, move = (LOAD_64, 3, MAP_VALUE, 0, 42), (MOVE, 1, 0, 0, 300)
    assert patched == data + pack_code(load, second, move, other)


def test_an_address_that_is_looked_up_is_left() -> None:
    code = pack_code((LOAD_64, 3, 0, 0, ADDRESS), (0, 0, 0, 0, 0))
    assert replace_immediates(code, {NUMBER: 300}, {}) == code
