#include "io/tensorboard_records.hpp"

#include <cmath>
#include <limits>

#include "io/files.hpp"
#include "tests/catch.hpp"
#include "tests/io/event_file.hpp"
#include "tests/paths.hpp"

using namespace collie;
using collie::test::EventFileReader;
using collie::test::ReadEvent;

namespace {

// The events of tests/golden/make_tensorboard_golden.py.
std::string golden_events() {
  using Limits = std::numeric_limits<float>;
  return tensorboard::version_record(1700000000.25) + tensorboard::session_start_record(1700000001.5, 3) +
         tensorboard::summary_record(1700000002.75, 3, {{"train/loss", 5.1234f}, {"train/lr", 3e-4f}}) +
         tensorboard::summary_record(1700000003.0, int64_t{1} << 40,
                                     {{"zero", 0.0f},
                                      {"negative", -1.5f},
                                      {"tiny", 1e-45f},
                                      {"nan", Limits::quiet_NaN()},
                                      {"infinite", Limits::infinity()},
                                      {"sample", std::string("café, \"quoted\",\nsecond line")}});
}

}  // namespace

TEST_CASE("the records are those of TensorBoard's own writer, byte for byte") {
  CHECK(golden_events() == read_text_file(test::golden_file("tensorboard_events.bin")));
}

TEST_CASE("the records read back as what they say") {
  const std::vector<ReadEvent> events = EventFileReader::read(golden_events());
  REQUIRE(events.size() == 4);
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[0].time_s == 1700000000.25);
  CHECK(events[1].starts_session);
  CHECK(events[1].step == 3);
  CHECK_FALSE(events[2].starts_session);
  CHECK(events[2].scalars ==
        std::vector<std::pair<std::string, float>>{{"train/loss", 5.1234f}, {"train/lr", 3e-4f}});
  CHECK(events[3].step == int64_t{1} << 40);
  REQUIRE(events[3].scalars.size() == 5);
  CHECK(std::isnan(events[3].scalars[3].second));
  CHECK(events[3].texts.at("sample") == "café, \"quoted\",\nsecond line");
}

TEST_CASE("a record that is cut anywhere is torn, and those before it are whole") {
  const std::string whole = tensorboard::version_record(1), last = tensorboard::session_start_record(2, 7);
  for (size_t length = 1; length < last.size(); ++length) {
    CAPTURE(length);
    bool torn = false;
    CHECK(EventFileReader::read(whole + last.substr(0, length), &torn).size() == 1);
    CHECK(torn);
  }
}

TEST_CASE("an event without values, and an empty message, are whole records") {
  CHECK(EventFileReader::read(tensorboard::summary_record(1, 2, {})).at(0).step == 2);
  CHECK(tensorboard::framed("").size() == 16);
  CHECK(EventFileReader::read(tensorboard::framed("")).size() == 1);
}
