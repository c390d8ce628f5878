// Which ranks are called slow, and which are not.
#include "runtime/stragglers.hpp"

#include <cmath>
#include <limits>

#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"

namespace collie::test {
namespace {

Grid grid_of(int pipeline, int data, int context, int tensor) {
  Grid grid;
  grid.pipeline = pipeline;
  grid.data = data;
  grid.context = context;
  grid.tensor = tensor;
  return grid;
}

// Steps [first, last] of one second in which each rank computes as long as `seconds` says.
template <class Seconds>
void steps(Stragglers& stragglers, const Grid& grid, int64_t first, int64_t last, const Seconds& seconds) {
  for (int64_t step = first; step <= last; ++step) {
    std::vector<double> all;
    for (int rank = 0; rank < grid.ranks(); ++rank) all.push_back(seconds(step, rank));
    stragglers.add(step, 1, all);
  }
}

}  // namespace

TEST_CASE("stragglers: a replica that becomes slow is named, with the step since which it is", "[monitor]") {
  const Grid grid = grid_of(1, 4, 1, 1);
  Stragglers stragglers(grid);
  const auto slow_from_31 = [](int64_t step, int rank) { return rank == 2 && step >= 31 ? 0.6 : 0.3; };
  steps(stragglers, grid, 1, 44, slow_from_31);
  CHECK(stragglers.slow().empty());
  CHECK(stragglers.take_news().empty());
  steps(stragglers, grid, 45, 45, slow_from_31);  // the fifteenth
  REQUIRE(stragglers.slow().size() == 1);
  CHECK(stragglers.slow()[0].rank == 2);
  CHECK(stragglers.slow()[0].since_step == 31);
  CHECK(static_cast<double>(stragglers.slow()[0].factor) == 2.0);
  const std::vector<std::string> news = stragglers.take_news();
  REQUIRE(news.size() == 1);
  CHECK_THAT(news[0], contains("rank 2 (replica 2) is slow since step 31: it computes 2.0 times as long"));
  // It is said once.
  steps(stragglers, grid, 46, 80, slow_from_31);
  CHECK(stragglers.take_news().empty());
  CHECK(stragglers.slow()[0].since_step == 31);
  // Until it is as fast as the others again.
  steps(stragglers, grid, 81, 95, [](int64_t, int) { return 0.3; });
  CHECK(stragglers.slow().empty());
  CHECK_THAT(stragglers.take_news().at(0), contains("rank 2 (replica 2) is no longer slow, at step 95"));
}

TEST_CASE("stragglers: one that is slow from the first step is named by its peers", "[monitor]") {
  const Grid grid = grid_of(1, 2, 1, 1);
  Stragglers stragglers(grid);
  steps(stragglers, grid, 1, 15, [](int64_t, int rank) { return rank == 1 ? 0.5 : 0.3; });
  REQUIRE(stragglers.slow().size() == 1);
  CHECK(stragglers.slow()[0].rank == 1);
  CHECK(stragglers.slow()[0].since_step == 1);
}

TEST_CASE("stragglers: stages that are unequal by plan, and unequal context ranks, are not slow",
          "[monitor]") {
  const Grid grid = grid_of(3, 1, 2, 1);
  Stragglers stragglers(grid);
  steps(stragglers, grid, 1, 100, [&](int64_t, int rank) {
    const GridPlace place = grid.place_of(rank);
    return 0.05 * (1 + 4 * place.pipeline) * (1 + place.context);
  });
  CHECK(stragglers.slow().empty());
  CHECK(stragglers.take_news().empty());
}

TEST_CASE("stragglers: a stage without peers is compared with its past, less what all have become",
          "[monitor]") {
  const Grid grid = grid_of(3, 1, 1, 1);
  Stragglers longer(grid), slower(grid);
  const auto usual = [](int64_t step, int rank) {
    return (step > 40 ? 2.0 : 1.0) * (rank == 0 ? 0.4 : 0.1);  // longer documents from step 41 on
  };
  steps(longer, grid, 1, 120, usual);
  CHECK(longer.slow().empty());
  steps(slower, grid, 1, 120,
        [&](int64_t step, int rank) { return usual(step, rank) * (rank == 1 && step > 60 ? 3 : 1); });
  REQUIRE(slower.slow().size() == 1);
  CHECK(slower.slow()[0].rank == 1);
  CHECK(slower.slow()[0].since_step == 61);
  CHECK_THAT(slower.take_news().at(0),
             contains("rank 1 (pipeline position 1) is slow since step 61: it computes 3.0 times as long as "
                      "before, and the other stages do not"));
}

TEST_CASE("stragglers: single slow steps, unknown times and small differences are no reason", "[monitor]") {
  const Grid grid = grid_of(1, 3, 1, 2);
  Stragglers noisy(grid), unknown(grid), small(grid), alone(grid_of(1, 1, 1, 1));
  steps(noisy, grid, 1, 200, [](int64_t step, int rank) { return (step * 7 + rank) % 3 == 0 ? 0.9 : 0.3; });
  CHECK(noisy.take_news().empty());
  steps(unknown, grid, 1, 100,
        [](int64_t, int rank) { return rank == 1 ? std::numeric_limits<double>::quiet_NaN() : 0.3; });
  CHECK(unknown.take_news().empty());
  // Three times as long, but for a twentieth of the step.
  steps(small, grid, 1, 100, [](int64_t, int rank) { return rank == 1 ? 0.075 : 0.025; });
  CHECK(small.take_news().empty());
  CHECK_FALSE(alone.watches());
}

}  // namespace collie::test
