#include "runtime/page/trace_picture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/xml.hpp"

namespace collie {

namespace {

// In pixels.
constexpr double lane_left = 60, lane_width = 1060, lane_height = 26, lane_gap = 8, axis_room = 24;
constexpr size_t most_boxes = 4000;

// The class of a task's colour: "0F3" is a forward, "update" is none of the four kinds.
int colour_class(const std::string& task) {
  constexpr std::string_view kinds = "FBIW";
  const size_t at = task.find_first_not_of("0123456789");
  if (at == 0 || at == std::string::npos) return 4;
  const size_t kind = kinds.find(task[at]);
  return kind == std::string_view::npos ? 4 : static_cast<int>(kind);
}

struct Range {
  double first = std::numeric_limits<double>::infinity(), last = -std::numeric_limits<double>::infinity();
};

Range range_of(const std::vector<ProgramDone>& traced) {
  Range range;
  for (const ProgramDone& rank : traced)
    for (const auto* spans : {&rank.spans, &rank.communication_spans})
      for (const TaskSpan& span : *spans) {
        range.first = std::min<double>(range.first, span.start_s);
        range.last = std::max<double>(range.last, span.end_s);
      }
  return range;
}

// A task that is shorter is not drawn.
double least_drawn(const std::vector<ProgramDone>& traced) {
  std::vector<double> lengths;
  for (const ProgramDone& rank : traced)
    for (const auto* spans : {&rank.spans, &rank.communication_spans})
      for (const TaskSpan& span : *spans) lengths.push_back(span.end_s - span.start_s);
  if (lengths.size() <= most_boxes) return 0;
  std::nth_element(lengths.begin(), lengths.end() - most_boxes, lengths.end());
  return *(lengths.end() - most_boxes);
}

}  // namespace

std::vector<std::string> trace_legend() {
  return {"forward", "backward", "backward, input", "backward, weight", "other"};
}

std::string trace_picture(const std::vector<ProgramDone>& traced) {
  const Range range = range_of(traced);
  if (!(range.last > range.first)) return "";
  const double scale = lane_width / (range.last - range.first), least = least_drawn(traced);
  const double height = static_cast<double>(traced.size()) * (lane_height + lane_gap) + axis_room;
  std::string svg = fmt::format("<svg viewBox=\"0 0 {0} {1}\" style=\"min-width:760px\" role=\"img\">\n",
                                lane_left + lane_width + 8, height);
  const auto box = [&](const TaskSpan& span, double top, double tall) {
    if (span.end_s - span.start_s < least) return;
    svg += fmt::format(
        "<rect class=\"s{}\" x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\"><title>{}: {:.3f} "
        "ms</title></rect>\n",
        colour_class(span.task), lane_left + (span.start_s - range.first) * scale, top,
        std::max((span.end_s - span.start_s) * scale - 0.5, 0.5), tall, xml_escaped(span.task),
        1e3 * (span.end_s - span.start_s));
  };
  for (size_t rank = 0; rank < traced.size(); ++rank) {
    const double top = static_cast<double>(rank) * (lane_height + lane_gap);
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">rank {}</text>\n", lane_left - 8,
                       top + 16, rank);
    for (const TaskSpan& span : traced[rank].spans) box(span, top, lane_height - 6);
    for (const TaskSpan& span : traced[rank].communication_spans) box(span, top + lane_height - 4, 3);
  }
  return svg + fmt::format(
                   "<text x=\"{}\" y=\"{}\">0</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.1f} ms"
                   "</text>\n</svg>\n",
                   lane_left, height - 6, lane_left + lane_width, height - 6,
                   1e3 * (range.last - range.first));
}

}  // namespace collie
