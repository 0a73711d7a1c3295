"""test_gpu.py where something is missing, breaks, hangs or takes too long: each part says so in one line, the
others go on, and the JSON is whole. Children are small stand-ins; nothing is built."""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from helpers import ROOT

pytestmark = [pytest.mark.cpu, pytest.mark.once]

SCRIPTS = ROOT / "scripts" / "check"
sys.path.append(str(SCRIPTS))
test_gpu = importlib.import_module("test_gpu")
instrumented = importlib.import_module("instrumented")
child, machine, results, suite, sanitizer, build = (
    importlib.import_module(f"gpu.{name}") for name in ("child", "machine", "results", "suite", "sanitizer", "build")
)
part_module = importlib.import_module("gpu.part")
benchmark = importlib.import_module("gpu.benchmark")
sys.path.remove(str(SCRIPTS))  # its files have the names of packages

PYTHON = sys.executable
FOUND = 'print(\'{"cuda": {"driver": 13000}, "emulated": false, "device": {"name": "Fake 1"}}\')'
TORCH = 'print(\'{"version": "2", "available": true}\')'
Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(autouse=True)
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that was built, a device that answers, and children that see neither this checkout nor its results."""
    (tmp_path / "build" / "python" / "weft").mkdir(parents=True)
    (tmp_path / "build" / "python" / "weft" / "kernels.so").touch()
    monkeypatch.setattr(part_module, "PROBE", FOUND)
    monkeypatch.setattr(sanitizer, "PROBE", FOUND)
    monkeypatch.setattr(benchmark, "TORCH", TORCH)
    monkeypatch.setattr(child, "ROOT", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(child, "TICK", 0.2)
    monkeypatch.setattr(machine, "devices", lambda: [])
    monkeypatch.setattr(machine, "versions", lambda: {"python": "3"})
    monkeypatch.setattr(part_module, "jobs", lambda: 2)
    monkeypatch.setattr(suite, "jobs", lambda: 2)
    monkeypatch.setattr(sanitizer, "jobs", lambda: 2)
    for name in list(os.environ):
        if name.startswith(("WEFT_", "PYTEST_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # hypothesis takes its time
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs test_gpu.py's main; its exit status and the JSON."""

    parse = test_gpu.parse

    def parsed(argv: list[str]) -> Any:
        settings = parse(argv)
        settings.build = tmp_path / "build"
        return settings

    monkeypatch.setattr(test_gpu, "parse", parsed)

    def main(*argv: str) -> tuple[int, dict[str, Any]]:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            status = test_gpu.main(["--out", str(tmp_path / "out"), *argv])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return status, whole(tmp_path / "out" / "results.json")

    return main


def whole(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    assert {"machine", "limits", "rows", "parts"} <= set(found)
    assert not list(path.parent.glob(".*.tmp"))
    return found


def code(text: str) -> list[str]:
    return [PYTHON, "-c", text]


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- the JSON and the run of all parts ---


def fake(monkeypatch: pytest.MonkeyPatch, **parts: Callable[[Any], dict[str, Any]]) -> None:
    monkeypatch.setattr(test_gpu, "PARTS", parts)


def passed(part: Any) -> dict[str, Any]:
    return {"status": "passed", "reason": "all well"}


def test_a_part_that_breaks_does_not_stop_the_others(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(part: Any) -> NoReturn:
        raise ZeroDivisionError("division")

    def impossible(part: Any) -> NoReturn:
        raise part_module.NotPossible("there is no driver")

    fake(monkeypatch, build=broken, suite=impossible, bench=passed)
    status, found = run()
    assert status == 1
    states = {name: part["status"] for name, part in found["parts"].items()}
    assert states == {"build": "failed", "suite": "not run", "bench": "passed"}
    assert "ZeroDivisionError" in found["parts"]["build"]["traceback"]
    out = capsys.readouterr().out
    assert "== build: failed in 0 s: ZeroDivisionError: division\n" in out
    assert "== suite: not run in 0 s: there is no driver\n" in out
    assert "not passed: build, suite;" in out


def test_parts_one_by_one_come_into_one_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_COMMIT", "abc")
    monkeypatch.setattr("bench.host.ROOT", Path("/nowhere"))
    fake(monkeypatch, build=passed, suite=passed, sanitizer=lambda part: {"status": "not run", "reason": "no tool"})
    assert list(run("--only", "build")[1]["parts"]) == ["build"]
    status, found = run("--only", "sanitizer", "--only", "suite")
    assert status == 0  # a sanitizer that cannot attach is no failure
    assert list(found["parts"]) == ["build", "suite", "sanitizer"]
    assert found["parts"]["suite"]["commit"] == found["machine"]["commit"] == "abc"


def test_budgets() -> None:
    given = test_gpu.parse(["--budget", "60", "--budget", "suite=90.5"])
    assert given.seconds == {"build": 60, "suite": 90.5, "bench": 60, "sanitizer": 60}
    for wrong in ("x", "suit=3", "suite=", "-3"):
        with pytest.raises(SystemExit):
            test_gpu.parse([f"--budget={wrong}"])


def test_a_full_disk_keeps_the_old_file_and_takes_another_place(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch, build=passed)
    run()
    before = (tmp_path / "out" / "results.json").read_bytes()
    replace = results.replace

    def full(path: Path, content: bytes) -> None:
        if tmp_path / "out" in path.parents:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(path, content)

    monkeypatch.setattr(results, "replace", full)
    fake(monkeypatch, bench=passed)
    assert run()[0] == 0
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    (other,) = tmp_path.glob("weft-test-gpu-*/results.json")
    assert list(whole(other)["parts"]) == ["build", "bench"]
    out = capsys.readouterr().out
    assert out.count("cannot be written ([Errno 28] No space left on device): the results go to") == 1


STOPPED = """
import sys
sys.path.insert(0, {scripts!r})
import test_gpu
def waits(part):
    part.report(known=7)
    part.run([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"],
             shown=lambda line: True)
test_gpu.PARTS = dict(build=waits)
sys.exit(test_gpu.main(["--out", {out!r}, "--emulated"]))
"""


def test_a_run_that_is_stopped(tmp_path: Path) -> None:
    script = STOPPED.format(scripts=str(SCRIPTS), out=str(tmp_path / "out"))
    with subprocess.Popen(code(script), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        pid = next(int(line) for line in process.stdout if line.strip().isdigit())
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 1
    assert not alive(pid)
    part = whole(tmp_path / "out" / "emulated.json")["parts"]["build"]
    assert (part["status"], part["known"]) == ("interrupted", 7)


def test_time_is_left_for_a_part_s_own_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def several(part: Any) -> dict[str, Any]:
        ends = [part.run(code("import time; time.sleep(600)")).status for _ in range(3)]
        return {"status": "out of time", "reason": str(ends)}

    fake(monkeypatch, build=several)
    start = time.monotonic()
    assert run("--budget", "5")[1]["parts"]["build"]["reason"] == "[None, None, None]"
    assert time.monotonic() - start < 60


# --- build ---


def commands(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What is run in place of CMake and of the build."""
    monkeypatch.setattr(machine, "tool", lambda name: f"/cuda/{name}")
    monkeypatch.setattr(instrumented, "configure_command", lambda *options: code(f"print({options[1:]!r})"))
    monkeypatch.setattr(instrumented, "build_command", lambda folder: code(text))


def test_without_nvcc(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "tool", lambda name: None)
    status, found = run("--only", "build")
    assert status == 1
    assert found["parts"]["build"]["status"] == "not run"
    assert found["parts"]["build"]["reason"].startswith("nvcc is not installed")


def test_without_cmake(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "tool", lambda name: f"/cuda/{name}")
    monkeypatch.setattr(instrumented, "_tool", lambda name: None)
    assert run("--only", "build")[1]["parts"]["build"]["reason"] == "cmake is not installed"


def test_a_compile_error_is_shown_and_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands(monkeypatch, "print('[1/2] x.o\\nFAILED: y.o\\ny.cu(3): error: no such thing\\n[2/2] z.o'); exit(1)")
    status, found = run("--only", "build", "--only", "suite")
    part = found["parts"]["build"]
    assert (status, part["status"], part["reason"]) == (1, "failed", "y.cu(3): error: no such thing")
    assert "the part build has to run first" in found["parts"]["suite"]["reason"]  # not with the module of before
    assert part["errors"] == ["FAILED: y.o", "y.cu(3): error: no such thing"]
    assert "\ny.cu(3): error: no such thing\n" in capsys.readouterr().out


def test_an_error_of_cmake_is_told_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(monkeypatch, "print('CMake Error in CMakeLists.txt:\\n  no such\\n  dialect\\n\\nlast words'); exit(1)")
    assert run("--only", "build")[1]["parts"]["build"]["reason"] == "CMake Error in CMakeLists.txt: no such dialect"


def test_a_build_that_takes_too_long(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(monkeypatch, "import time; print('[7/90] x.o', flush=True); time.sleep(600)")
    part = run("--only", "build", "--budget", "5")[1]["parts"]["build"]
    assert part["status"] == "out of time"
    assert "[7/90] x.o" in part["reason"]


# --- no device, and modules that do not fit ---


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        ("exit('there is no CUDA driver on this machine')", "there is no CUDA driver on this machine"),
        (
            f"{FOUND}\nraise RuntimeError('add: this build of weft has kernels for the architectures 80')",
            "RuntimeError: add: this build of weft has kernels for the architectures 80",
        ),
        ("import time; time.sleep(600)", "the device does not answer within a minute"),
    ],
)
def test_a_device_that_cannot_be_used(run: Run, monkeypatch: pytest.MonkeyPatch, probe: str, reason: str) -> None:
    monkeypatch.setattr(part_module, "PROBE", probe)
    monkeypatch.setattr(machine, "tool", lambda name: "/cuda/tool")
    status, found = run("--only", "suite", "--only", "bench", "--only", "sanitizer", "--budget", "4")
    assert status == 1
    for part in found["parts"].values():
        assert (part["status"], part["reason"]) == ("not run", reason)


def test_without_a_module(run: Run, tmp_path: Path) -> None:
    (tmp_path / "build" / "python" / "weft" / "kernels.so").unlink()
    assert "the part build has to run first" in run("--only", "suite")[1]["parts"]["suite"]["reason"]


# --- suite ---

TESTS = """
import os, sys, time, types, pytest

@pytest.mark.parametrize("i", range(5))
def test_good(i): pass
def test_bad(): assert 1 == 2
def test_memory(): raise MemoryError("cuda:0 is out of memory")
def test_left_out(): pytest.importorskip("nosuchpackage")
def test_dies(): os.kill(os.getpid(), 9)
def test_hangs(): time.sleep(600)
def test_breaks_the_device():
    def lost(): raise RuntimeError("an illegal memory access")
    sys.modules["weft.kernels"] = types.SimpleNamespace(default_device=lambda: "cuda:0", cuda_synchronize=lost)
    lost()
@pytest.fixture
def broken():
    yield
    raise RuntimeError("on the way out")
def test_end(broken): pass
"""


def test_what_a_suite_brings_home(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(TESTS)
    status, found = run("--only", "suite", "--tests", str(tmp_path / "test_x.py"), "--test-seconds", "4")
    part = found["parts"]["suite"]
    assert (status, part["status"], part["collected"]) == (1, "failed", 12)
    assert part["counts"] == {
        "passed": 5, "failed": 2, "skipped": 1, "error": 1, "crashed": 1, "hanging": 1, "device lost": 1
    }  # fmt: skip
    failures = {each["test"].partition("::")[2]: each for each in part["failures"]}
    assert {name: each["outcome"] for name, each in failures.items()} == {
        "test_bad": "failed", "test_memory": "failed", "test_end": "error", "test_dies": "crashed",
        "test_hangs": "hanging", "test_breaks_the_device": "device lost",
    }  # fmt: skip
    assert "assert 1 == 2" in failures["test_bad"]["text"]
    assert "test_x.py" in failures["test_hangs"]["text"]  # the line where it hangs
    assert "an illegal memory access" in failures["test_breaks_the_device"]["text"]
    assert part["skipped_for"] == {"could not import 'nosuchpackage': No module named 'nosuchpackage'": 1}
    assert (part["unfinished"], part["not_started"]) == ([], 0)
    assert "1 of them for want of memory" in part["reason"]
    assert "1 hanging" in part["reason"]


def test_a_suite_that_takes_too_long(run: Run, tmp_path: Path) -> None:
    text = "import time, pytest\ndef test_first(): pass\n"
    text += "@pytest.mark.parametrize('i', range(30))\ndef test_slow(i): time.sleep(600)\n"
    (tmp_path / "test_x.py").write_text(text)
    part = run("--only", "suite", "--tests", str(tmp_path / "test_x.py"), "--budget", "14")[1]["parts"]["suite"]
    assert part["status"] == "out of time"
    assert (part["collected"], part["counts"]) == (31, {"passed": 1})
    assert len(part["unfinished"]) == 2
    assert part["not_started"] == 28


def test_a_suite_without_xdist(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_xdist(monkeypatch)
    text = "import time\ndef test_a(): pass\ndef test_b(): time.sleep(600)\ndef test_c(): pass\n"
    (tmp_path / "test_x.py").write_text(text)
    tests = f"-p no:xdist {tmp_path / 'test_x.py'}"
    part = run("--only", "suite", "--tests", tests, "--test-seconds", "2")[1]["parts"]["suite"]
    assert (part["status"], part["counts"], part["not_started"]) == ("failed", {"passed": 1, "hanging": 1}, 1)
    assert "test_x.py::test_b" in part["reason"]


def test_tests_that_cannot_be_collected(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("import nosuchpackage")
    part = run("--only", "suite", "--tests", str(tmp_path / "test_x.py"))[1]["parts"]["suite"]
    assert part["status"] == "failed"
    assert "nosuchpackage" in part["failures"][0]["text"]


def test_the_kernels_tests_come_first() -> None:
    names = [Path(name).stem for name in suite.files()]
    first = [name for name in names if name.startswith("test_cuda_")]
    assert names[: len(first)] == first
    assert len(first) > 10
    assert {"test_tensor", "test_resnet"} < set(names)
    assert not {"test_bench", "test_bench_device", "test_cuda_emulation", "test_examples", "test_old_cpu"} & set(names)


# --- bench ---

BENCH = """
import json, sys, time
if "--help" in sys.argv:
    exit("--budget SECONDS" if {budget} else "")
row = dict(suite="gemm", name="sgemm", shape="64", figure=0.9, values={{"weft": 1.0, "torch cuBLAS": 2.0}})
about = dict(commit="c", date="2026-01-01", versions={{"torch": "2"}}, device={{"name": "Fake 1"}})
with open(sys.argv[sys.argv.index("--json") + 1], "w") as file:
    json.dump(dict(machine=about, limits=dict(flops=1e12, bandwidth=1e12), rows=[row]), file)
print(*sys.argv[1:], flush=True)
{end}
"""


def fake_bench(folder: Path, end: str = "", budget: bool = True) -> None:
    (folder / "bench").mkdir(exist_ok=True)
    (folder / "bench" / "__init__.py").touch()
    (folder / "bench" / "__main__.py").write_text(BENCH.format(end=end, budget=budget))


def test_rows_come_home(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_bench(tmp_path)
    monkeypatch.setattr(benchmark.importlib.util, "find_spec", lambda name: None)
    status, found = run("--only", "bench", "--quick")
    part = found["parts"]["bench"]
    assert (status, part["status"], part["reason"]) == (
        0, "passed", "1 rows; PyTorch is not installed: weft's rows alone"
    )  # fmt: skip
    assert found["rows"][0]["values"] == {"weft": 1.0, "torch cuBLAS": 2.0}
    assert found["device"]["name"] == "Fake 1"
    out = capsys.readouterr().out
    assert " --quick --budget 4" in out  # hundreds of seconds
    assert "--vs" not in out
    fake_bench(tmp_path, budget=False)
    run("--only", "bench")
    assert "--budget" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        ("raise RuntimeError('no such kernel')", "failed", "RuntimeError: no such kernel (exit status 1, after 1 rows"),
        ("time.sleep(600)", "out of time", "1 rows"),
    ],
)
def test_benchmarks_that_do_not_end_well(run: Run, tmp_path: Path, end: str, status: str, reason: str) -> None:
    fake_bench(tmp_path, end)
    found = run("--only", "bench", "--budget", "9")[1]
    assert found["parts"]["bench"]["status"] == status
    assert found["parts"]["bench"]["reason"].startswith(reason)
    assert len(found["rows"]) == 1


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ("raise ImportError('libcudart is missing')", "PyTorch cannot be imported: weft's rows alone"),
        (TORCH.replace("true", "false"), "PyTorch 2 has no device: weft's rows alone"),
    ],
)
def test_a_pytorch_without_a_device(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe: str, words: str
) -> None:
    fake_bench(tmp_path)
    monkeypatch.setattr(benchmark.importlib.util, "find_spec", lambda name: name)  # wherever the tests run
    monkeypatch.setattr(benchmark, "TORCH", probe)
    assert run("--only", "bench")[1]["parts"]["bench"]["reason"] == f"1 rows; {words}"


def test_the_tables_read_it(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.report import tables

    monkeypatch.setattr(tables, "RESULTS", tmp_path / "out" / "cpu.json")
    fake(monkeypatch, suite=passed)
    run()
    assert tables.device_result() is None  # no row was measured yet
    monkeypatch.setattr(test_gpu, "PARTS", {"bench": benchmark.benchmark})
    fake_bench(tmp_path)
    run()
    made = tables.device_tables_of(tables.device_result())
    assert "| 2.00 | yes |" in made["device"]
    assert made["gpu"].startswith("Fake 1: 1.0 TFLOP/s")


# --- sanitizer ---

TOOL = """#!{python}
import subprocess, sys
arguments = sys.argv[1:]
tool = arguments[arguments.index("--tool") + 1]
program = arguments[arguments.index({python!r}):]
print("========= COMPUTE-SANITIZER", flush=True)
if tool in {cannot}:
    print("========= Error: Target application terminated before first instrumented API call")
    sys.exit(1)
status = subprocess.call(program)
if tool == "memcheck" and "pytest" in program:
    for i in range(2):
        print("========= Invalid __global__ write of size 4 bytes")
        print("=========     at gemm_kernel(float *)+0x50 in gemm.cu:9")
        print("=========     by thread (3,0,0) in block (0,0,0)\\n=========")
    print("========= ERROR SUMMARY: 2 errors", flush=True)
    sys.exit(9)
if tool == "racecheck":
    print("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)")
else:
    print("========= ERROR SUMMARY: 0 errors")
sys.exit(status)
"""


def without_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite.importlib.util, "find_spec", lambda name: None if name == "xdist" else name)


def fake_tool(folder: Path, monkeypatch: pytest.MonkeyPatch, *cannot: str) -> None:
    without_xdist(monkeypatch)  # whose start takes longer than these tests
    program = folder / "compute-sanitizer"
    program.write_text(TOOL.format(python=PYTHON, cannot=cannot))
    program.chmod(0o755)
    monkeypatch.setattr(machine, "tool", lambda name: str(program))
    (folder / "test_x.py").write_text("import pytest\n@pytest.mark.parametrize('i', range(3))\ndef test_a(i): pass\n")


def test_what_the_sanitizer_finds(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tool(tmp_path, monkeypatch, "initcheck")
    status, found = run("--only", "sanitizer", "--tests", str(tmp_path / "test_x.py"))
    tools = found["parts"]["sanitizer"]["tools"]
    assert status == 1
    assert {name: tool["status"] for name, tool in tools.items()} == {
        "memcheck": "failed", "racecheck": "passed", "initcheck": "not run", "synccheck": "passed"
    }  # fmt: skip
    assert tools["memcheck"]["findings"] == {
        "Invalid __global__ write of size 4 bytes at gemm_kernel(float *)+0x50 in gemm.cu:9": 2
    }
    assert tools["memcheck"]["tests"] == tools["racecheck"]["tests"] == {"passed": 3}
    assert tools["initcheck"]["reason"] == (
        "Error: Target application terminated before first instrumented API call"
    )  # fmt: skip
    assert "ERROR SUMMARY: 2 errors" in (tmp_path / "out" / "memcheck.log").read_text()


def test_a_sanitizer_that_cannot_attach(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tool(tmp_path, monkeypatch, *sanitizer.TOOLS)
    status, found = run("--only", "sanitizer")
    part = found["parts"]["sanitizer"]
    assert (status, part["status"]) == (0, "not run")
    assert "memcheck not run: Error: Target application terminated before" in part["reason"]
    monkeypatch.setattr(machine, "tool", lambda name: None)
    status, found = run("--only", "sanitizer")
    assert (status, found["parts"]["sanitizer"]["reason"]) == (0, "compute-sanitizer is not installed")


def test_a_sanitizer_that_takes_too_long(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tool(tmp_path, monkeypatch, "racecheck", "initcheck", "synccheck")
    (tmp_path / "test_x.py").write_text("import time\ndef test_a(): pass\ndef test_b(): time.sleep(600)\n")
    results = run("--only", "sanitizer", "--tests", str(tmp_path / "test_x.py"), "--budget", "24")[1]
    found = results["parts"]["sanitizer"]
    assert found["status"] == found["tools"]["memcheck"]["status"] == "out of time"
    assert found["tools"]["memcheck"]["tests"] == {"passed": 1}
