// What checks of elements found. Outside of a graph the host waits for each, 10 us or so; of a graph it reads
// the findings whenever it synchronizes anyway.
#include "backend.h"
#include "cuda/finding.h"
#include "cuda/runtime.h"

namespace weft::cuda {

namespace {

PinnedFinding new_finding() {
  PinnedFinding finding(static_cast<Finding*>(allocate_pinned(sizeof(Finding))));
  *finding = {no_finding, 0, 0};
  return finding;
}

}  // namespace

Finding* begin_check(const CheckValuesArgs& args) {
  if (graph_build) {
    auto watched = std::make_unique<WatchedCheck>();
    watched->finding = new_finding();
    watched->args = args;
    graph_build->checks.push_back(std::move(watched));
    return graph_build->checks.back()->finding.get();
  }
  // One for each thread: a thread waits for its check before it makes another.
  thread_local const PinnedFinding finding = new_finding();
  finding->position = no_finding;
  return finding.get();
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

void throw_findings(DeviceState& device, const Stream* stream) {
  const std::lock_guard lock(device.watched_mutex);
  std::vector<LateFinding> found;
  found.swap(device.late);
  for (const WatchedCheck* watched : device.watched) {
    // A graph on a stream that was not waited for may be writing.
    if ((stream && watched->last != stream) || watched->finding->position == no_finding) continue;
    found.push_back({*watched->finding, watched->args});
    watched->finding->position = no_finding;
  }
  if (found.empty()) return;
  const auto& [finding, args] = found.front();
  args.fail(args, static_cast<std::int64_t>(finding.position), finding.value, finding.real);
}

}  // namespace weft::cuda
