// What checks of elements found. Outside of a graph the host waits for each, 10 us or so; of a graph it reads
// the findings whenever it synchronizes anyway.
#include "backend.h"
#include "cuda/finding.h"
#include "cuda/runtime.h"

namespace weft::cuda {

namespace {

struct FreePinned {
  void operator()(Finding* finding) const { free_pinned(finding); }
};
using PinnedFinding = std::unique_ptr<Finding, FreePinned>;

PinnedFinding new_finding() {
  PinnedFinding finding(static_cast<Finding*>(allocate_pinned(sizeof(Finding))));
  *finding = {no_finding, 0, 0};
  return finding;
}

}  // namespace

Finding* begin_check(const CheckValuesArgs& args) {
  if (graph_build) {
    graph_build->checks.push_back(
        std::make_unique<WatchedCheck>(WatchedCheck{new_finding().release(), args}));
    return graph_build->checks.back()->finding;
  }
  // One for each thread: a thread waits for its check before it makes another.
  thread_local Finding* const finding = new_finding().release();
  finding->position = no_finding;
  return finding;
}

void end_check(Stream& stream, const CheckValuesArgs& args, const Finding* finding) {
  if (graph_build) return;
  synchronize(stream);
  if (finding->position != no_finding)
    args.fail(args, static_cast<std::int64_t>(finding->position), finding->value, finding->real);
}

void check_values(Stream& stream, const CheckValuesArgs& args) {
  Finding* const finding = begin_check(args);
  find_bad_value(stream, args, finding);
  end_check(stream, args, finding);
}

void throw_findings(DeviceState& device) {
  const std::lock_guard lock(device.watched_mutex);
  for (const WatchedCheck* watched : device.watched) {
    const Finding found = *watched->finding;
    if (found.position == no_finding) continue;
    for (const WatchedCheck* each : device.watched) each->finding->position = no_finding;
    watched->args.fail(watched->args, static_cast<std::int64_t>(found.position), found.value, found.real);
  }
}

}  // namespace weft::cuda
