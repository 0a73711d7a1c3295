"""How a row is measured: each contestant has the device to itself, and what it computes is compared."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Sequence
from typing import Any

import weft
import weft.kernels as K
from bench.device import arrays, peer
from bench.device import clock as clocks
from bench.device.case import Case, Entry
from bench.measure import Row
from weft.limits import Limits

COMPILING = 0.4  # the share of a budget that PyTorch's compiler may take
SLOWEST = 45.0  # seconds that it may take once: in the last ones of a budget it isn't begun


def text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


class Session:
    """What the rows of one run have in common."""

    def __init__(self, quick: bool, budget: float | None = None) -> None:
        self.quick, self.effort = quick, clocks.QUICK if quick else clocks.FULL
        self.deadline = time.monotonic() + (budget if budget is not None else float("inf"))
        self.compiling = COMPILING * budget if budget is not None else float("inf")
        self.flushed = clocks.flush_array(quick)
        self.ours = clocks.weft_clock(self.flushed)
        self.without_peer = peer.unavailable_reason()
        self.theirs = None if self.without_peer else peer.clock(self.flushed)
        gc.collect()
        gc.freeze()  # what was imported is never garbage, and going through it takes a tenth of a second
        self.limits: Limits = clocks.measure_limits(self.ours, quick)

    def over(self) -> bool:
        return time.monotonic() >= self.deadline

    def run(self, case: Case) -> Row:
        """Measures one row. What it raises becomes the row's error, so that the others go on."""
        begun = time.monotonic()
        row = case.row
        try:
            if case.measure is not None:
                row.values = case.measure()
            else:
                Turns(self, case).run()
        except Exception as error:  # whatever a kernel or a peer may raise: too little memory, a shape that it refuses
            row.error = text(error)
        self.release(thorough=case.host)
        row.about["row_seconds"] = round(time.monotonic() - begun, 2)
        return row

    @staticmethod
    def release(thorough: bool) -> None:
        """Gives memory back, which the other library's next contestant needs."""
        try:
            peer.release(thorough)
            weft.cuda.empty_cache()
        except Exception:  # the device is lost; `lost` finds out
            pass

    @staticmethod
    def lost() -> bool:
        """Whether the device takes no more work: what a wild access of one row leaves to all later ones."""
        try:
            weft.cuda.synchronize()
        except Exception:
            return True
        return False


class Turns:
    """The contestants of one row, one after the other."""

    def __init__(self, session: Session, case: Case) -> None:
        self.session, self.case, self.row = session, case, case.row
        self.reference: list[Any] | None = None  # what our first contestant computed
        self.confirmed = False  # by a peer

    def run(self) -> None:
        entries = self.case.entries()
        for entry in entries:
            if self.session.theirs is None and not entry.name.startswith("weft"):
                continue
            if not self.has_time(entry):
                self.row.about.setdefault("left_out", []).append(entry.name)
                continue
            try:
                self.turn(entry)
            except Exception as error:
                self.failed(entry.name, text(error))
            self.session.release(thorough=entry.compiles or self.case.host)
        if self.row.ours < float("inf"):
            for further in (self.compare_with_limit, lambda: self.once_more(entries)):
                try:
                    further()
                except Exception as error:  # what was measured before stays
                    self.row.about.setdefault("failed", {})["limit or repetition"] = text(error)
            return
        self.row.error = next(why for name, why in self.row.about["failed"].items() if name.startswith("weft"))

    def failed(self, name: str, why: str) -> None:
        """Only the text is kept: an error holds on to the arrays of the functions that it passed."""
        self.row.values.pop(name, None)
        self.row.about.setdefault("failed", {})[name] = why

    def has_time(self, entry: Entry) -> bool:
        if entry.name.startswith("weft"):
            return True
        left = self.session.deadline - time.monotonic()
        return left > (SLOWEST if entry.compiles else 0) and not (entry.compiles and self.session.compiling <= 0)

    def turn(self, entry: Entry) -> None:
        ours = entry.name.startswith("weft")
        clock = self.session.ours if ours else self.session.theirs
        assert clock is not None
        begun = time.monotonic()
        run = entry.make()
        result = run()
        clock.synchronize()
        first = time.monotonic() - begun
        if entry.compiles:
            self.session.compiling -= first
        if entry.compared and self.case.tolerance is not None and self.session.theirs is not None:
            self.compare(entry.name, result, ours)
        del result
        measured = (clocks.host_time if self.case.host else clocks.device_time)(run, clock, self.session.effort)
        self.row.values[entry.name] = measured.seconds
        about = {"spread": round(measured.spread, 4), "samples": measured.samples, "first_seconds": round(first, 2)}
        about.update({"late": measured.late} if measured.late else {})
        self.row.about.setdefault("timing", {})[entry.name] = about

    def compare(self, name: str, result: Any, ours: bool) -> None:
        """No time is kept of a contestant that computes something else. The first peer decides about ours."""
        if self.reference is None:
            if ours:
                self.reference = peer.copies_of(result)
            return
        difference = peer.discrepancy(self.reference, peer.tensors_of(result))
        self.row.about.setdefault("discrepancy", {})[name] = difference if math.isfinite(difference) else "not finite"
        assert self.case.tolerance is not None
        if difference <= self.case.tolerance:
            self.confirmed = self.confirmed or not ours
            return
        message = f"the results of {name} and of weft differ by {difference:.2g} of the largest element"
        if ours or self.confirmed:
            raise ArithmeticError(message)
        for mine in [key for key in self.row.values if key.startswith("weft")]:
            self.failed(mine, message)
        raise ArithmeticError(message)

    def once_more(self, entries: Sequence[Entry]) -> None:
        """Our best contestant a second time, after the others: how much its time has moved tells whether the device's
        clocks fell meanwhile, as those of one that multiplies all the time may. Kept beside the row's values."""
        best = next(entry for entry in entries if self.row.values.get(entry.name) == self.row.ours)
        if self.case.copied or self.case.host or self.row.best_peer() is None or self.session.over():
            return
        again = clocks.device_time(best.make(), self.session.ours, self.session.effort).seconds
        self.row.about["again"] = {best.name: again}

    def compare_with_limit(self) -> None:
        row, session = self.row, self.session
        if self.case.copied:
            copies = self.copy_seconds()
            row.about["copy"] = copies
            row.percent = 100 * min(copies.values()) / row.ours
        elif not self.case.host and row.flop and row.peak:
            row.percent = 100 * session.limits.seconds(row.flop / row.peak, row.bytes) / row.ours

    def copy_seconds(self) -> dict[str, float]:
        """Of as many bytes as the row must move, half of them read and half written, by either library."""
        session = self.session
        x = K.zeros((max(1, round(self.row.bytes / 8)),), "float32", arrays.DEVICE)
        y = K.empty_like(x)
        found = {"weft": clocks.device_time(lambda: K.copy_into(y, x), session.ours, session.effort).seconds}
        if session.theirs is not None:
            p, q = peer.view(x), peer.view(y)
            found["torch"] = clocks.device_time(lambda: q.copy_(p), session.theirs, session.effort).seconds
        return found
