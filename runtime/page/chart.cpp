#include "runtime/page/chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "base/round_step.hpp"
#include "base/xml.hpp"

namespace collie {

namespace {

// In pixels.
constexpr double chart_width = 560, chart_height = 220;
constexpr double chart_left = 66, chart_right = 12, chart_top = 10, chart_bottom = 26;

struct Interval {
  double least = std::numeric_limits<double>::infinity(), most = -std::numeric_limits<double>::infinity();
  void add(double value) {
    least = std::min(least, value);
    most = std::max(most, value);
  }
  // So that a curve that does not move has a place in the middle.
  void widen_if_empty() {
    if (most > least) return;
    const double room = least == 0 ? 1 : std::abs(least) / 10;
    least -= room;
    most += room;
  }
};

class Chart {
 public:
  Chart(const std::vector<Curve>& curves, const std::function<std::string(double)>& words)
      : curves_(curves), words_(words) {
    for (const Curve& curve : curves)
      for (const auto& [step, value] : curve.points) {
        x_.add(step);
        y_.add(value);
      }
    COLLIE_ASSERT(std::isfinite(x_.least) && std::isfinite(y_.least) && std::isfinite(y_.most),
                  "a chart without points, or with a value that is not finite");
    x_.widen_if_empty();
    y_.widen_if_empty();
  }

  std::string drawn() {
    svg_ = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\">\n", chart_width, chart_height);
    draw_axes();
    for (size_t i = 0; i < curves_.size(); ++i) draw_curve(curves_[i], i);
    return svg_ + "</svg>\n";
  }

 private:
  double at_x(double step) const {
    return chart_left + (step - x_.least) / (x_.most - x_.least) * (chart_width - chart_left - chart_right);
  }
  double at_y(double value) const {
    return chart_height - chart_bottom -
           (value - y_.least) / (y_.most - y_.least) * (chart_height - chart_top - chart_bottom);
  }

  void draw_axes() {
    const double across = round_step(y_.most - y_.least, 6), along = round_step(x_.most - x_.least, 7);
    for (double value = std::ceil(y_.least / across) * across; value <= y_.most; value += across)
      svg_ += fmt::format(
          "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text x=\"{}\" y=\"{:.1f}\" "
          "text-anchor=\"end\">{}</text>\n",
          chart_left, chart_width - chart_right, at_y(value), at_y(value), chart_left - 6, at_y(value) + 4,
          xml_escaped(words_(std::abs(value) < across / 1e6 ? 0 : value)));
    for (double step = std::ceil(x_.least / along) * along; step <= x_.most; step += along) {
      if (step != std::floor(step)) continue;
      svg_ += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.0f}</text>\n", at_x(step),
                          chart_height - 8, step);
    }
  }

  void draw_curve(const Curve& curve, size_t index) {
    std::string line;
    const auto add = [&](const std::pair<double, double>& point) {
      line += fmt::format("{}{:.1f},{:.1f}", line.empty() ? "" : " ", at_x(point.first), at_y(point.second));
    };
    for (size_t first = 0; first < curve.points.size();) {
      size_t end = first;  // of the points in one pixel
      const auto pixel = std::floor(at_x(curve.points[first].first));
      while (end < curve.points.size() && std::floor(at_x(curve.points[end].first)) == pixel) ++end;
      const auto by_value = [](const auto& a, const auto& b) { return a.second < b.second; };
      const auto begin = curve.points.begin() + static_cast<std::ptrdiff_t>(first),
                 last = curve.points.begin() + static_cast<std::ptrdiff_t>(end);
      auto [low, high] = std::minmax_element(begin, last, by_value);
      if (high < low) std::swap(low, high);
      add(*low);
      if (high != low) add(*high);
      first = end;
    }
    svg_ += fmt::format("<polyline class=\"s{}\" points=\"{}\"/>\n", index % 6, line);
    if (!curve.dots && curve.points.size() > 1) return;
    for (const auto& point : curve.points)
      svg_ += fmt::format(
          "<circle class=\"s{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"><title>{} {:.0f}: {}</title>"
          "</circle>\n",
          index % 6, at_x(point.first), at_y(point.second), "step", point.first,
          xml_escaped(words_(point.second)));
  }

  const std::vector<Curve>& curves_;
  const std::function<std::string(double)>& words_;
  Interval x_, y_;
  std::string svg_;
};

}  // namespace

std::string chart_svg(const std::vector<Curve>& curves, const std::function<std::string(double)>& words) {
  return Chart(curves, words).drawn();
}

}  // namespace collie
