// Finds ranks that compute longer than they should: on a machine that is slower than the others, or that
// became slow. Stages may be unequal by plan, so a rank is compared with ranks that have the same work, the
// tensor and data ranks at its place in the pipeline. One that has none is compared with its own past, less
// what has become slower everywhere.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "runtime/grid.hpp"
#include "runtime/step_measures.hpp"

namespace collie {

struct StragglerLimits {
  double factor = 1.5;         // times as long as it should be
  double share_of_step = 0.1;  // what it computes too long is at least this part of the step
  // A rank is slow when `slow` of its last `window` steps were so, and no more when at most `few` are.
  int window = 20, slow = 15, few = 5;
};

class Stragglers {
 public:
  explicit Stragglers(const Grid& grid, StragglerLimits limits = {});

  // Whether there is anything to compare.
  bool watches() const { return grid_.ranks() > 1; }
  // computing_s [ranks]: what each rank computed in the step, without communication; NaN: not known.
  void add(int64_t step, double step_s, const std::vector<double>& computing_s);
  // The ranks that are slow at present, the slowest first.
  std::vector<SlowRank> slow() const;
  // Says for people which ranks have become slow, or are no longer, since the last call.
  std::vector<std::string> take_news();

 private:
  struct Seen {
    int64_t step = 0;
    bool slow = false;
    double factor = 1;  // how many times as long as it should be
  };
  struct Watched {
    std::deque<Seen> window;      // of the last steps whose factor is known
    std::vector<double> first_s;  // of the first steps, where a rank is compared with its past
    double usual_s = 0;           // their median; 0: not known yet
    bool is_slow = false;
    int64_t since_step = 0;
    double factor = 1;
  };

  std::vector<double> factors(const std::vector<double>& computing_s);
  double growth(Watched& watched, double computing_s) const;
  void note(int rank, const Seen& seen);
  std::string place(int rank) const;

  Grid grid_;
  StragglerLimits limits_;
  std::vector<int> group_of_;             // [ranks] the index of its group below
  std::vector<std::vector<int>> groups_;  // ranks with the same work
  std::vector<Watched> watched_;          // [ranks]
  std::vector<std::string> news_;
};

}  // namespace collie
