#include "runtime/stall.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"

namespace collie::test {
namespace {

using Phase = RankStatus::Phase;

const RankStatus::Snapshot idle{Phase::idle, "has nothing to do", 0};

TEST_CASE("stall: the rank inside a task is named, whoever waits before it", "[actors][stall]") {
  const auto stall = describe_stall({{Phase::waiting, "waits for activation from rank 1", 3},
                                     {Phase::computing, "1F5", 2},
                                     {Phase::waiting, "waits for gradient from rank 1", 4}},
                                    14.5, 10);
  REQUIRE(stall);
  CHECK(stall->who == "rank 1");
  CHECK(stall->cause ==
        "no progress for 10.5 s (run.stall_timeout_s is 10); it is inside '1F5'; rank 0 waits for activation "
        "from rank "
        "1; rank 2 waits for gradient from rank 1");
}

TEST_CASE("stall: where nobody computes the first that waits is named", "[actors][stall]") {
  const auto stall =
      describe_stall({idle, {Phase::waiting, "waits for X", 0}, {Phase::waiting, "waits for Y", 0}}, 11, 10);
  REQUIRE(stall);
  CHECK(stall->who == "rank 1");
  CHECK_THAT(stall->cause, contains("it 'waits for X'") && contains("rank 2 waits for Y") &&
                               contains("rank 0 has nothing to do"));
}

TEST_CASE("stall: any rank's progress counts", "[actors][stall]") {
  const RankStatus::Snapshot blocked{Phase::computing, "0F0", 0};
  CHECK_FALSE(describe_stall({blocked, {Phase::waiting, "waits", 95}}, 100, 10));
  CHECK(describe_stall({blocked, {Phase::waiting, "waits", 89}}, 100, 10));
  CHECK_FALSE(describe_stall({blocked}, 10, 10));  // not yet longer than the timeout
}

TEST_CASE("stall: idle ranks are no stall", "[actors][stall]") {
  CHECK_FALSE(describe_stall({idle, idle}, 1000, 10));
  CHECK_FALSE(describe_stall({}, 1000, 10));
}

TEST_CASE("stall: the watchdog looks often enough", "[actors][stall]") {
  CHECK(watch_interval(600).count() == 1000);
  CHECK(watch_interval(2).count() == 500);
  CHECK(watch_interval(0.01).count() == 20);
}

}  // namespace
}  // namespace collie::test
