// Draws the timeline as a picture: one lane per rank, one box per action.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "base/round_step.hpp"
#include "base/xml.hpp"
#include "schedule/summary.hpp"

namespace collie::schedule {
namespace {

// These are in pixels.
constexpr double left = 72, right = 24, top = 66, axis_height = 44, least_plot = 420, most_plot = 1600;

struct Look {
  ActionKind kind;
  std::string_view colour, meaning;
};
constexpr std::array<Look, 4> looks = {{{ActionKind::forward, "#3b6fb6", "F: forward"},
                                        {ActionKind::backward, "#d9822b", "B: backward"},
                                        {ActionKind::backward_input, "#2f9c7f", "I: backward, input"},
                                        {ActionKind::backward_weight, "#8a5fb0", "W: backward, weight"}}};

class Picture {
 public:
  Picture(const Schedule& schedule, const Timeline& timeline) : schedule_(schedule), timeline_(timeline) {
    const double shortest = shortest_compute(timeline);
    const double wanted = shortest > 0 ? timeline.makespan / shortest * 22 : 0;
    plot_ = std::clamp(wanted, least_plot, most_plot);
    scale_ = timeline.makespan > 0 ? plot_ / timeline.makespan : 0;
    lane_ = std::clamp(1000.0 / schedule.ranks, 12.0, 30.0);
    bottom_ = top + lane_ * schedule.ranks;
  }

  std::string drawn() {
    const double width = left + plot_ + right, height = bottom_ + axis_height;
    svg_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 "
        "{0:.0f} {1:.0f}\" "
        "font-family=\"Helvetica, Arial, sans-serif\">\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        width, height);
    draw_heading();
    draw_axis();
    for (int rank = 0; rank < schedule_.ranks; ++rank) draw_lane(rank);
    return svg_ + "</svg>\n";
  }

 private:
  double x_of(double time) const { return left + time * scale_; }

  void text(double x, double y, double size, std::string_view style, std::string_view words) {
    svg_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{:.1f}\" {}>{}</text>\n", x, y, size,
                        style, xml_escaped(words));
  }

  void draw_heading() {
    const auto slash = schedule_.name.rfind('/');
    Schedule titled;  // named by the file without its folder
    titled.name = slash == std::string::npos ? schedule_.name : schedule_.name.substr(slash + 1);
    titled.ranks = schedule_.ranks;
    titled.stages = schedule_.stages;
    titled.micro_batches = schedule_.micro_batches;
    text(left, 22, 16, "font-weight=\"bold\" fill=\"#222222\"", title_of(titled));
    std::string facts = times_of(timeline_);
    const auto peaks = peak_activations(schedule_);
    facts += schedule_.stages <= 8
                 ? ", peak activations by stage " + peaks_of(schedule_)
                 : fmt::format(", peak activations {}", *std::max_element(peaks.begin(), peaks.end()));
    text(left, 40, 12, "fill=\"#555555\"", facts);
    draw_legend();
  }

  void draw_legend() {
    double x = left;
    for (const Look& look : looks) {
      if (!occurs(look.kind)) continue;
      svg_ += fmt::format("<rect x=\"{:.1f}\" y=\"49\" width=\"10\" height=\"10\" rx=\"2\" fill=\"{}\"/>\n",
                          x, look.colour);
      text(x + 14, 58, 11, "fill=\"#333333\"", look.meaning);
      x += 26 + 6.0 * static_cast<double>(look.meaning.size());
    }
    if (schedule_.stages > schedule_.ranks)
      text(x, 58, 11, "fill=\"#333333\"", "lighter: a rank's later stages");
  }

  bool occurs(ActionKind kind) const {
    for (const ActionList& list : schedule_.lists)
      for (const Action& action : list)
        if (action.kind == kind) return true;
    return false;
  }

  void draw_axis() {
    if (timeline_.makespan <= 0) return;
    const double step = round_step(timeline_.makespan, plot_ / 80);
    const auto count = static_cast<int>(std::floor(timeline_.makespan / step + 1e-9));
    for (int i = 0; i <= count; ++i) {
      const double x = x_of(i * step);
      svg_ += fmt::format(
          "<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"#dddddd\"/>\n", x, top,
          bottom_ + 5);
      text(x, bottom_ + 18, 11, "text-anchor=\"middle\" fill=\"#555555\"", fmt::format("{:.6g}", i * step));
    }
    text(left + plot_ / 2, bottom_ + 35, 11, "text-anchor=\"middle\" fill=\"#555555\"", "time");
  }

  void draw_lane(int rank) {
    const double y = top + lane_ * rank;
    const double size = std::min(12.0, lane_ - 3);
    text(left - 8, y + lane_ / 2 + size * 0.36, size, "text-anchor=\"end\" fill=\"#333333\"",
         fmt::format("rank {}", rank));
    svg_ += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#000000\" "
        "fill-opacity=\"0.04\"/>\n",
        left, y + 1, plot_, lane_ - 2);
    for (const TimedAction& timed : timeline_.ranks[static_cast<size_t>(rank)])
      if (is_compute(timed.action.kind) && timed.end > timed.start) draw_box(timed, y);
  }

  void draw_box(const TimedAction& timed, double y) {
    const double x = x_of(timed.start), width = (timed.end - timed.start) * scale_;
    const double gap = width > 6 ? 1 : 0;  // white between neighbours if there is room for it
    const auto look =
        std::find_if(looks.begin(), looks.end(), [&](const Look& l) { return l.kind == timed.action.kind; });
    svg_ += fmt::format(
        "<g><title>{} of rank {}: {:.6g} to {:.6g}</title>"
        "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" rx=\"{}\" fill=\"{}\" "
        "fill-opacity=\"{:.2f}\"/>",
        to_string(timed.action), timed.rank, timed.start, timed.end, x + gap / 2, y + 1.5, width - gap,
        lane_ - 3, gap > 0 ? 2 : 0, look->colour, opacity_of(timed.action));
    const std::string number = std::to_string(timed.action.micro_batch);
    const double size = std::min({12.0, lane_ - 4, (width - 4) / (0.6 * static_cast<double>(number.size()))});
    if (size >= 6)
      svg_ += fmt::format(
          "<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{:.1f}\" text-anchor=\"middle\" fill=\"{}\">{}</text>",
          x + width / 2, y + lane_ / 2 + size * 0.36, size,
          opacity_of(timed.action) < 0.7 ? "#222222" : "#ffffff", number);
    svg_ += "</g>\n";
  }

  // A rank's later stages are lighter.
  double opacity_of(const Action& action) const {
    int stages = 0, before = 0;
    const int rank = schedule_.rank_of_stage[static_cast<size_t>(action.stage)];
    for (int stage = 0; stage < schedule_.stages; ++stage) {
      if (schedule_.rank_of_stage[static_cast<size_t>(stage)] != rank) continue;
      ++stages;
      before += stage < action.stage;
    }
    return stages == 1 ? 1 : 1 - 0.55 * before / (stages - 1);
  }

  const Schedule& schedule_;
  const Timeline& timeline_;
  double plot_ = 0, scale_ = 0, lane_ = 0, bottom_ = 0;
  std::string svg_;
};

}  // namespace

std::string to_svg(const Schedule& schedule, const Timeline& timeline) {
  return Picture(schedule, timeline).drawn();
}

}  // namespace collie::schedule
