// Stage actors in real time: what the runtime adds to a schedule is next to nothing.
#include "tests/actors/makespan.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

TEST_CASE("real time: with actions of 5 ms every schedule's makespan is within 3 % of the simulator's",
          "[actors][makespan][slow][timed]") {
  const std::string name = GENERATE("gpipe", "1f1b", "interleaved_1f1b", "zb_h1", "zbv", "dualpipe_v");
  CAPTURE(name);
  const double ratio = best_makespan(name, 4, 8, 12, 1.03);
  CHECK(ratio <= 1.03);
  CHECK(ratio > 0.99);  // nothing is faster than its own actions allow
}

}  // namespace
}  // namespace collie::test
