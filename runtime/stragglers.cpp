#include "runtime/stragglers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

namespace collie {

namespace {

constexpr double unknown_factor = std::numeric_limits<double>::quiet_NaN();

// The median of the known ones; of an even number the lower of the two in the middle. NaN if none is known.
double median_of(std::vector<double> values) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  if (values.empty()) return unknown_factor;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// What stands at `left_out` does not count. In a large group one more does not change the median.
double median_of_others(const std::vector<double>& values, size_t left_out, double of_all) {
  constexpr size_t large = 16;
  if (values.size() >= large) return of_all;
  std::vector<double> others = values;
  others.erase(others.begin() + static_cast<std::ptrdiff_t>(left_out));
  return median_of(std::move(others));
}

}  // namespace

// Context ranks see different parts of sequences, so their work may differ.
Stragglers::Stragglers(const Grid& grid, StragglerLimits limits) : grid_(grid), limits_(limits) {
  std::map<std::pair<int, int>, int> index;
  for (int rank = 0; rank < grid.ranks(); ++rank) {
    const GridPlace place = grid.place_of(rank);
    const auto [found, is_new] =
        index.emplace(std::pair(place.pipeline, place.context), static_cast<int>(groups_.size()));
    if (is_new) groups_.emplace_back();
    groups_[static_cast<size_t>(found->second)].push_back(rank);
    group_of_.push_back(found->second);
  }
  watched_.resize(group_of_.size());
}

// How many times as long as usual a rank has computed. NaN until it is known what is usual.
double Stragglers::growth(Watched& watched, double computing_s) const {
  if (std::isnan(computing_s)) return unknown_factor;
  if (watched.usual_s == 0) {
    watched.first_s.push_back(computing_s);
    if (watched.first_s.size() < static_cast<size_t>(limits_.window)) return unknown_factor;
    watched.usual_s = median_of(std::exchange(watched.first_s, {}));
  }
  return watched.usual_s > 0 ? computing_s / watched.usual_s : unknown_factor;
}

std::vector<double> Stragglers::factors(const std::vector<double>& computing_s) {
  std::vector<double> all(computing_s.size(), unknown_factor), growths;
  for (size_t rank = 0; rank < computing_s.size(); ++rank)
    growths.push_back(growth(watched_[rank], computing_s[rank]));
  const double usual_growth = median_of(growths);
  for (const std::vector<int>& group : groups_) {
    std::vector<double> of_group;
    for (const int rank : group) of_group.push_back(computing_s[static_cast<size_t>(rank)]);
    const double of_all = median_of(of_group);
    for (size_t i = 0; i < group.size(); ++i) {
      const auto rank = static_cast<size_t>(group[i]);
      // If others have become faster, this one is not slow for that.
      const double reference =
          group.size() > 1
              ? median_of_others(of_group, i, of_all)
              : watched_[rank].usual_s * std::max(1.0, median_of_others(growths, rank, usual_growth));
      if (reference > 0) all[rank] = computing_s[rank] / reference;
    }
  }
  return all;
}

void Stragglers::add(int64_t step, double step_s, const std::vector<double>& computing_s) {
  if (!watches()) return;
  const std::vector<double> all = factors(computing_s);
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (std::isnan(all[rank])) continue;
    const double excess_s = computing_s[rank] * (1 - 1 / all[rank]);
    note(static_cast<int>(rank),
         {step, all[rank] > limits_.factor && excess_s > limits_.share_of_step * step_s, all[rank]});
  }
}

void Stragglers::note(int rank, const Seen& seen) {
  Watched& watched = watched_[static_cast<size_t>(rank)];
  watched.window.push_back(seen);
  if (watched.window.size() > static_cast<size_t>(limits_.window)) watched.window.pop_front();
  std::vector<double> of_slow;
  int64_t first = 0;
  for (const Seen& each : watched.window) {
    if (!each.slow) continue;
    if (of_slow.empty()) first = each.step;
    of_slow.push_back(each.factor);
  }
  const int slow = static_cast<int>(of_slow.size());
  if (slow > 0) watched.factor = median_of(of_slow);
  if (!watched.is_slow && slow >= limits_.slow) {
    watched.is_slow = true;
    watched.since_step = first;
    news_.push_back(fmt::format("rank {} ({}) is slow since step {}: it computes {:.1f} times as long as {}",
                                rank, place(rank), first, watched.factor,
                                groups_[static_cast<size_t>(group_of_[static_cast<size_t>(rank)])].size() > 1
                                    ? "the ranks that have the same work"
                                    : "before, and the other stages do not"));
  } else if (watched.is_slow && slow <= limits_.few) {
    watched.is_slow = false;
    news_.push_back(fmt::format("rank {} ({}) is no longer slow, at step {}; it was since step {}", rank,
                                place(rank), seen.step, watched.since_step));
  }
}

std::string Stragglers::place(int rank) const {
  const GridPlace at = grid_.place_of(rank);
  std::string words;
  const auto add = [&](const char* what, int number, int of) {
    if (of > 1) words += fmt::format("{}{} {}", words.empty() ? "" : ", ", what, number);
  };
  add("pipeline position", at.pipeline, grid_.pipeline);
  add("replica", at.data, grid_.data);
  add("context rank", at.context, grid_.context);
  add("tensor rank", at.tensor, grid_.tensor);
  return words;
}

std::vector<SlowRank> Stragglers::slow() const {
  std::vector<SlowRank> all;
  for (size_t rank = 0; rank < watched_.size(); ++rank)
    if (watched_[rank].is_slow)
      all.push_back({static_cast<int>(rank), watched_[rank].since_step, watched_[rank].factor});
  std::stable_sort(all.begin(), all.end(),
                   [](const SlowRank& a, const SlowRank& b) { return a.factor > b.factor; });
  return all;
}

std::vector<std::string> Stragglers::take_news() {
  return std::exchange(news_, {});
}

}  // namespace collie
