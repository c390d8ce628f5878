#include "schedule/schedules.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_schedule(const std::string& folder, const std::string& contents) {
  const schedule::Schedule made = schedule::read_schedule_file(put(folder, "s.csv", contents));
  must(made.ranks > 0 && made.stages > 0, "a schedule of nothing was accepted");
}

}  // namespace collie::test
