// Draws curves over the steps of a run as SVG.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace collie {

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;  // (step, value), finite, by step
  bool dots = false;                              // few points, each of which is to be seen
};

// An SVG element of 560 x 220 pixels that takes its colours from the page (page.cpp). Of many points in one
// pixel the lowest and the highest are drawn. `words` says a value for people. There must be a point.
std::string chart_svg(const std::vector<Curve>& curves, const std::function<std::string(double)>& words);

}  // namespace collie
