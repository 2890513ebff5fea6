"""What an older kernel lacks is refused or told by name. tests/vm has a real one; here its answers are mocked."""

from pathlib import Path

import pytest

from boxtrace.errors import CapabilityError
from boxtrace.kernel import image, preemption
from boxtrace.kernel.capabilities import counts_skipped_tracepoints
from boxtrace.session.options import ChannelOptions, RecordOptions
from boxtrace.session.recording import record
from boxtrace.trace import open_trace


class MockedKernelBtf:
    """The type information of a kernel without the variables that are looked for."""

    def per_cpu(self, name: str) -> None:
        return None

    def has_member(self, structure: str, member: str) -> bool:
        return True


def test_a_mocked_kernel_without_the_newer_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "interrupts_code", lambda: None)
    monkeypatch.setattr(image, "counts_skipped_tracepoints", lambda: False)
    channel = ChannelOptions(events=("sched_switch", "task_rename"), contexts=("tid", "interruptible"))
    options = RecordOptions(output=tmp_path / "trace", channels=(channel,), state_dump=False, command=("sleep", "0.01"))
    warnings: list[str] = []
    summary = record(options, warn=warnings.append)
    assert summary.exit_status == 0
    assert any("'interruptible' is -1" in warning and "Linux 6.14" in warning for warning in warnings)
    assert any("of such losses there is no account" in warning for warning in warnings)
    switches = [event for event in open_trace(tmp_path / "trace").events() if event.name == "sched_switch"]
    assert switches and {event["interruptible"] for event in switches} == {-1}


def test_nothing_is_told_of_what_nobody_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "interrupts_code", lambda: None)
    monkeypatch.setattr(image, "counts_skipped_tracepoints", lambda: False)
    warnings: list[str] = []
    record(RecordOptions(output=tmp_path / "trace", state_dump=False, command=("true",)), warn=warnings.append)
    assert warnings == []


def test_preemptible_is_refused_by_a_mocked_kernel_that_hides_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preemption, "kernel_btf", MockedKernelBtf)
    with pytest.raises(CapabilityError, match="'preemptible' needs a kernel that tells") as refused:
        preemption.find_preempt_count(frozenset({"preemptible"}), "x86_64")
    assert refused.value.hint is not None and "__preempt_count" in refused.value.hint
    assert preemption.find_preempt_count(frozenset({"interruptible"}), "x86_64") == 0
    assert preemption.find_preempt_count(frozenset({"preemptible"}), "aarch64") == 0


@pytest.mark.parametrize(
    ("release", "counts"), [("6.1.0-56-cloud-amd64", False), ("6.6.9", False), ("6.7.0-rc1", True), ("6.18.44", True)]
)
def test_which_kernels_count_what_they_skip(release: str, counts: bool) -> None:
    assert counts_skipped_tracepoints(release) == counts
