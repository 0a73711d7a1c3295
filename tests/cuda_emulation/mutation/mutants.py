"""The mutants of csrc/cuda: finds what can be broken in device code, and writes sources that hold all of it at once.

A mutant is one change in device code: a barrier, a wait or a commit removed, a wait weakened, a comparison off by one,
a guard removed, a loop one short. Compiling each would take a day, so the sources are written once with a switch at
each site, and a number chosen at run time says which mutant lives:

    i < n    ->    (weft_mutant == 17 ? (i <= n) : weft_mutant == 18 ? (i < n - 1) : (i < n))

A second form of the sources records instead: it notes at each site whether the mutant's value would have differed. A
test in which it never does cannot catch the mutant, and need not run (weak mutation testing: Howden, 1982).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
EACH = 1000  # numbers kept for the mutants of one file; 0 is no mutant

RUN = """\
#pragma once
// const here, so that the compiler tells the checker of no access; mutants.cpp defines it as a variable.
extern "C" const int weft_mutant;
"""
RUN_DEFINITION = """\
extern "C" {
__attribute__((visibility("default"))) int weft_mutant = 0;
}
"""
RECORD = f"""\
#pragma once
extern "C" unsigned char weft_mutant_differs[{EACH} * 200];
inline void weft_note(int number, bool differs) {{ weft_mutant_differs[number] |= differs; }}
"""
RECORD_DEFINITION = f"""\
extern "C" {{
__attribute__((visibility("default"))) unsigned char weft_mutant_differs[{EACH} * 200];
}}
"""


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change: text[begin:end] of a file becomes `new`."""

    path: str
    line: int
    kind: str
    begin: int
    end: int
    new: str
    shown: str  # what becomes what
    function: str  # in which it stands
    digest: str  # of the whole file
    number: int

    @property
    def key(self) -> str:
        return f"{self.path}:{self.begin}:{self.end}:{self.new}:{self.digest}"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.function}: {self.kind}: {self.shown}"


@dataclasses.dataclass
class Site:
    """A piece of code with the ways to break it: a whole call, or a comparison with its operator at `operator`."""

    begin: int
    end: int
    operator: tuple[int, int] | None
    changes: list[tuple[str, str]]  # kind, and the new text, the new operator, or what follows the right operand
    function: str = ""


# --- Where device code stands, and what can be broken in it ---


def blank(text: str) -> str:
    """The text with comments, strings and preprocessor lines as spaces, so that offsets stay."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*'
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S | re.M)


def closing(text: str, opening: int) -> int:
    """The offset of the bracket that closes the one at `opening`."""
    pairs, depth = {"(": ")", "{": "}", "[": "]"}, 0
    first, last = text[opening], pairs[text[opening]]
    for at in range(opening, len(text)):
        depth += (text[at] == first) - (text[at] == last)
        if depth == 0:
            return at
    return len(text)


def device_bodies(text: str) -> Iterator[tuple[str, int, int]]:
    """The functions that run on the device: name, and where the body stands."""
    end = 0
    for found in re.finditer(r"\b(?:__global__|__device__|WEFT_HOST_DEVICE)\b", text):
        if found.start() < end:
            continue
        at = found.end()
        while at < len(text) and text[at] not in ";{":
            at = closing(text, at) + 1 if text[at] in "([" else at + 1
        if at < len(text) and text[at] == "{":
            end = closing(text, at)
            names = re.findall(r"(\w+|\boperator\W+)\s*\(", text[found.end() : at])
            yield next((name for name in names if not name.startswith("__")), ""), at, end


def term(text: str, at: int) -> tuple[int, int]:
    """The operands of the comparison at `at`: up to the next operator that binds less, or bracket around them."""
    begin, depth = at, 0
    stop = r"(?:&&|\|\||[^=!<>]=|\breturn|[,;?{}([]| :)\s*$"
    while depth > 0 or not re.search(stop, text[max(0, begin - 9) : begin]):
        begin -= 1
        depth += (text[begin] in ")]") - (text[begin] in "([")
    end, depth = at, 0
    while depth > 0 or not (text[end] in ",;?)]}" or text[end : end + 2] in ("&&", "||", ": ")):
        depth += (text[end] in "([") - (text[end] in ")]")
        end += 1
    begin += len(text[begin:at]) - len(text[begin:at].lstrip())
    return begin, at + len(text[at:end].rstrip())


def without(text: str, begin: int, end: int) -> str:
    """What a condition without this term comes to: true, but false as one of several with || or before a `continue`."""
    before, behind = text[:begin].rstrip(), text[end:].lstrip()
    if before.endswith("||") or behind.startswith("||") or re.match(r"\)\s*\{?\s*(continue|return|break)\b", behind):
        return "false"
    return "true"


def operand(text: str, at: int, ends: list[str]) -> str:
    """text[at:] up to one of `ends`, without spaces, casts and the marks of a number's type."""
    end, depth = at, 0
    while depth > 0 or not any(text.startswith(mark, end) for mark in ends):
        depth += (text[end] in "([{") - (text[end] in ")]}")
        end += 1
    return re.sub(r"\bstatic_cast<[^<>]*>|\bT\b|[\s()]|\.0?f\b", "", text[at:end])


def chooses_its_operands(text: str, begin: int, operator: tuple[int, int], end: int) -> bool:
    """Whether a comparison gives the smaller or larger of its operands: where they are equal, both are right."""
    question = re.compile(r"\s*\?").match(text, end)
    if not question:
        return False
    first = operand(text, question.end(), [" : "])
    second = operand(text, text.index(" : ", question.end()) + 3, [",", ";", ")", "}", " :"])
    compared = {operand(text, begin, [text[slice(*operator)] + " "]), operand(text[:end] + ";", operator[1], [";"])}
    return {first, second} == compared


def in_loop_header(text: str, at: int) -> bool:
    depth = 0
    while at > 0 and depth <= 0:
        at -= 1
        depth += (text[at] == "(") - (text[at] == ")")
    return text[:at].endswith("for ")


def one_step(text: str, left: str, end: int) -> str:
    """What takes a step off a loop, whose variable is the left operand of the condition that ends at `end`."""
    found = re.compile(r"[^;)]*;[^;]*?" + re.escape(left) + r" ([+*])= ").match(text, end)
    if not found or closing_of_header(text, end) < found.end():
        return " - 1"
    at, depth = found.end(), 0
    while depth > 0 or text[at] not in ",)":
        depth += (text[at] in "([") - (text[at] in ")]")
        at += 1
    return f" {'-' if found[1] == '+' else '/'} ({text[found.end() : at]})"


def closing_of_header(text: str, at: int) -> int:
    depth = 0
    while depth >= 0:
        depth += (text[at] == "(") - (text[at] == ")")
        at += 1
    return at


def sites(text: str, low: int, high: int) -> Iterator[Site]:
    """All that can be broken in a function's body."""
    nothing = "static_cast<void>(0)"
    removed = {
        "barrier removed": r"__syncthreads\(\)",
        "warp barrier removed": r"__syncwarp\([^()]*\)",
        "wait removed": r"cp_async_wait<([^<>]*)>\(\)",
        "commit removed": r"cp_async_commit\(\)",
        "fence removed": r"__threadfence\(\)",
    }
    for kind, pattern in removed.items():
        for found in re.compile(pattern).finditer(text, low, high):
            changes = [(kind, nothing)]
            if kind == "wait removed":
                changes.append(("wait weakened", f"cp_async_wait<({found[1]}) + 1>()"))
            yield Site(found.start(), found.end(), None, changes)
    for found in re.compile(r"(?<= )(<=|>=|<|>)(?= )").finditer(text, low, high):
        statement = text[max(text.rfind(c, low, found.start()) for c in ";{}") + 1 : found.start()]
        if re.search(r"\b(static_assert|constexpr|template|operator)\b", statement):
            continue
        other = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}[found[1]]
        begin, end = term(text, found.start())
        same = chooses_its_operands(text, begin, found.span(), end)
        changes = [(f"{found[1]} made {other}", other) if not same else ("of no effect", other)]
        if not in_loop_header(text, found.start()):
            changes.append(("guard removed", without(text, begin, end)))
        elif found[1] == "<":
            left = text[begin : found.start()].strip()
            changes.append(("loop one short", one_step(text, left, end)))
        yield Site(begin, end, found.span(), changes)


def sites_of(text: str) -> list[Site]:
    """The sites of a file, in an order in which those around others stand first."""
    code = blank(text)
    found = []
    for name, low, high in device_bodies(code):
        found += [dataclasses.replace(site, function=name) for site in sites(code, low, high)]
    return sorted(found, key=lambda site: (site.begin, -site.end))


def mutants_of(path: Path, first: int) -> list[Mutant]:
    """The mutants of a file, with numbers from `first` on."""
    text = path.read_text()
    name, digest = str(path.relative_to(ROOT)), hashlib.sha1(text.encode()).hexdigest()[:12]
    made: list[Mutant] = []
    for site in sites_of(text):
        for kind, new in site.changes:
            begin, end = site.begin, site.end
            shown = new
            if site.operator and kind not in ("guard removed", "loop one short"):
                begin, end = site.operator
                shown = text[site.begin : begin] + new + text[end : site.end]
            if kind == "loop one short":
                shown = new = text[begin:end] + new
            shown = f"`{' '.join(text[site.begin : site.end].split())}` -> `{' '.join(shown.split())}`"
            line = text.count("\n", 0, site.operator[0] if site.operator else begin) + 1
            made.append(Mutant(name, line, kind, begin, end, new, shown, site.function, digest, first + len(made)))
    assert len(made) < EACH
    return made


def first_numbers(names: list[str]) -> dict[str, int]:
    """Where each file's numbers begin. A file keeps them when others come, and so its object."""
    file = ROOT / "build" / "mutate" / "numbers.json"
    numbers: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    for name in names:
        numbers.setdefault(name, 1 + EACH * len(numbers))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(numbers))
    return numbers


def all_mutants(*, also_of_no_effect: bool = False) -> list[Mutant]:
    folder = ROOT / "csrc" / "cuda"
    paths = [path for path in sorted([*folder.rglob("*.cu"), *folder.rglob("*.h")]) if path.name != "device.h"]
    numbers = first_numbers([str(path.relative_to(ROOT)) for path in paths])
    made = [mutant for path in paths for mutant in mutants_of(path, numbers[str(path.relative_to(ROOT))])]
    return made if also_of_no_effect else [mutant for mutant in made if mutant.kind != "of no effect"]


# --- The sources with all mutants ---


class Writer:
    """Writes a file's text with its mutants as switches (`record` False) or as notes."""

    def __init__(self, text: str, mutants: list[Mutant], record: bool) -> None:
        self.text, self.record = text, record
        self.sites = sites_of(text)
        numbers = iter(mutant.number for mutant in mutants)
        self.numbers = [[next(numbers) for _ in site.changes] for site in self.sites]

    def between(self, begin: int, end: int, first: int) -> str:
        """text[begin:end], with the sites in it from number `first` on rewritten."""
        out, at = "", begin
        for index in range(first, len(self.sites)):
            site = self.sites[index]
            if site.begin >= at and site.end <= end:
                out += self.text[at : site.begin] + self.site(index)
                at = site.end
        return out + self.text[at:end]

    def site(self, index: int) -> str:
        site = self.sites[index]
        if site.operator is None:
            mine = self.text[site.begin : site.end]
            others = [new for _, new in site.changes]
        else:
            low, high = site.operator
            left, right = self.between(site.begin, low, index + 1), self.between(high, site.end, index + 1)
            mine = left + self.text[low:high] + right
            others = [self.other(kind, new, left, right) for kind, new in site.changes]
        chosen = list(zip(self.numbers[index], others, strict=True))
        if not self.record:
            return "(" + "".join(f"weft_mutant == {k} ? ({other}) : " for k, other in chosen) + f"({mine}))"
        # Twice evaluated: not where that would do something twice.
        pure = site.operator and not re.search(r"\+\+|--|atomic|_sync|__sync", mine)
        notes = [f"weft_note({k}, " + (f"({other}) != ({mine})" if pure else "true") + "), " for k, other in chosen]
        return "(" + "".join(notes) + f"({mine}))"

    @staticmethod
    def other(kind: str, new: str, left: str, right: str) -> str:
        if kind == "guard removed":
            return new
        if kind == "loop one short":
            return f"{left}<{right}{new}"
        return left + new + right


def write_sources(folder: Path, mutants: list[Mutant], record: bool) -> None:
    """A tree in `folder` that builds like this one, with the mutants in csrc/cuda. What is right stays untouched."""
    for name in ("CMakeLists.txt", "cmake", "csrc", "scripts/generate/kernel_lines.py", "tests/cuda_emulation"):
        source = ROOT / name
        files = [source] if source.is_file() else [file for file in source.rglob("*") if file.is_file()]
        for file in files:
            text = file.read_bytes()
            path = str(file.relative_to(ROOT))
            mine = [mutant for mutant in mutants if mutant.path == path]
            if path == "csrc/cuda/device/device.h":
                text += b'#include "cuda/mutants.h"\n'
            if path == "cmake/cuda.cmake":  # a loop that runs over the end of a local array must do so
                text += b"target_compile_options(weft_cuda PRIVATE -fno-aggressive-loop-optimizations)\n"
            if mine:
                writer = Writer(text.decode(), mine, record)
                text = writer.between(0, len(writer.text), 0).encode()
            put(folder / path, text)
    put(folder / "csrc" / "cuda" / "mutants.h", (RECORD if record else RUN).encode())
    put(folder / "csrc" / "cuda" / "mutants.cpp", (RECORD_DEFINITION if record else RUN_DEFINITION).encode())
    for file in (folder / "csrc").rglob("*"):
        stays = (ROOT / file.relative_to(folder)).exists() or file.stem == "mutants"
        if not stays and file.is_dir():
            shutil.rmtree(file)
        elif not stays:
            file.unlink(missing_ok=True)


def put(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
