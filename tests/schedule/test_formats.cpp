// CSV, text and SVG. tests/collie::test::golden_file/check_schedule_csv.py made PyTorch's files and loads
// ours in PyTorch.
#include <fstream>
#include <sstream>

#include "schedule/schedules.hpp"
#include "schedule/simulator.hpp"
#include "tests/catch.hpp"
#include "tests/paths.hpp"
#include "tests/schedule/support.hpp"

using namespace collie;
using namespace collie::schedule;
using namespace collie::schedule::test;

namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string csv_error(const std::string& text) {
  return user_error([&] { validate(from_csv(text, "my.csv")); });
}

}  // namespace

TEST_CASE("CSV has a column a tick and an empty cell where a rank idles") {
  CHECK(to_csv(make_schedule("1f1b", {2, 2, 1, false})) ==
        "0F0,0F1,,0B0,,0B1\n"
        ",1F0,1B0,1F1,1B1\n");
  CHECK(to_csv(with_communication(make_schedule("gpipe", {2, 1, 1, true}))) ==
        "0F0,0SEND_F0,0RECV_B0,0I0,0W0\n"
        "1RECV_F0,1F0,1I0,1SEND_B0,1W0\n");
}

TEST_CASE("CSV reads back what was written") {
  for (const char* name : {"gpipe", "1f1b"}) {
    for (const bool split : {false, true}) {
      const Schedule schedule = make_schedule(name, {4, 6, 1, split});
      for (const Schedule& written : {schedule, with_communication(schedule), forward_only(4, 6)}) {
        const Schedule read = from_csv(to_csv(written), "here");
        CHECK(read.lists == written.lists);
        CHECK(read.rank_of_stage == written.rank_of_stage);
        CHECK(read.stages == written.stages);
        CHECK(read.micro_batches == written.micro_batches);
        CHECK(read.forward_only == written.forward_only);
        validate(read);
      }
    }
  }
}

TEST_CASE("what PyTorch loaded is what is written") {
  const auto made = [](const char* name, bool split) { return make_schedule(name, {4, 6, 1, split}); };
  CHECK(to_csv(made("1f1b", false)) == contents(collie::test::golden_file("schedule_engine_1f1b_4_6.csv")));
  CHECK(to_csv(made("gpipe", false)) == contents(collie::test::golden_file("schedule_engine_gpipe_4_6.csv")));
  CHECK(to_csv(with_communication(made("1f1b", true))) ==
        contents(collie::test::golden_file("schedule_engine_1f1b_4_6_split_communication.csv")));
}

TEST_CASE("PyTorch's gpipe is ours") {
  for (const auto& [ranks, micro_batches] : {std::pair(2, 4), std::pair(4, 8)}) {
    const Sizes sizes{ranks, micro_batches, 1, false};
    const std::string file =
        collie::test::golden_file(fmt::format("schedule_gpipe_{}_{}.csv", ranks, micro_batches));
    CHECK(make_schedule(file, sizes).lists == make_schedule("gpipe", sizes).lists);
  }
}

TEST_CASE("PyTorch's 1F1B is ours on every rank but the last, where it is off by one and refused") {
  for (const auto& [ranks, micro_batches] : {std::pair(2, 4), std::pair(4, 8)}) {
    const std::string file =
        collie::test::golden_file(fmt::format("schedule_1f1b_{}_{}.csv", ranks, micro_batches));
    const Schedule read = from_csv(contents(file), file);
    const Schedule ours = make_schedule("1f1b", {ranks, micro_batches, 1, false});
    for (size_t rank = 0; rank + 1 < read.lists.size(); ++rank) CHECK(read.lists[rank] == ours.lists[rank]);
    CHECK(to_string(read.lists.back().front()) == fmt::format("{}F1", ranks - 1));
    CHECK_THROWS_AS(validate(read), UserError);
  }
}

TEST_CASE("PyTorch's multi-stage schedules load, validate and take the published time") {
  struct Row {
    const char* name;
    double makespan;
  };
  for (const Row& row : {Row{"interleaved_1f1b", 13.5}, Row{"interleaved_zero_bubble", 13}, Row{"zbv", 12.5},
                         Row{"dualpipe_v", 12.5}}) {
    CAPTURE(row.name);
    const Schedule schedule = make_schedule(
        collie::test::golden_file(fmt::format("schedule_{}_2_4.csv", row.name)), {2, 4, 2, false});
    CHECK(simulate(schedule, {}).makespan == row.makespan);
    CHECK(from_csv(to_csv(schedule), "again").lists == schedule.lists);
  }
}

TEST_CASE("a file must agree with the sizes asked for, and may be split") {
  const std::string file = collie::test::golden_file("schedule_gpipe_2_4.csv");
  CHECK(user_error([&] {
          make_schedule(file, {3, 4, 1, false});
        }) == "schedule " + file + ": the file has 2 ranks (rows), but 3 are asked for");
  CHECK(user_error([&] {
          make_schedule(file, {2, 5, 1, false});
        }) == "schedule " + file + ": the file has 4 micro-batches, but 5 are asked for");
  CHECK(user_error([&] {
          make_schedule(file, {2, 4, 2, false});
        }) == "schedule " + file + ": the file has 2 stages, but 4 are asked for");
  CHECK(make_schedule(file, {2, 4, 1, true}).lists == make_schedule("gpipe", {2, 4, 1, true}).lists);
  CHECK(user_error([&] {
          make_schedule("no/such.csv", {2, 4, 1, false});
        }) == "cannot read no/such.csv: No such file or directory");
}

TEST_CASE("CSV with Windows line ends, blanks, a byte-order mark and empty rows at its end") {
  const Schedule schedule = from_csv(
      "\xEF\xBB\xBF"
      "0F0 , ,0B0\r\n,\"1F0\",1B0,,\r\n\r\n\n",
      "here");
  CHECK(text_of(schedule.lists[0]) == "0F0 0B0");
  CHECK(text_of(schedule.lists[1]) == "1F0 1B0");
  CHECK(schedule.columns[1] == std::vector<int>{1, 2});
}

TEST_CASE("PyTorch's own actions are left out, and overlapped ones taken apart") {
  const Schedule schedule = from_csv(
      "0UNSHARD,0F0,(0F1;0B0)OVERLAP_F_B,0WAIT_SEND_F0,0B1,0REDUCE_GRAD,0WAIT_REDUCE_GRAD,0RESHARD", "here");
  CHECK(text_of(schedule.lists[0]) == "0F0 0F1 0B0 0B1");
  CHECK(schedule.columns[0] == std::vector<int>{1, 2, 2, 4});
}

TEST_CASE("an error in a CSV file names row and column") {
  CHECK(csv_error("0F0,,0B0\n1F0,oops,1B0\n") ==
        "my.csv: row 2, column 2: 'oops' is not an action; an action is "
        "<stage><F|B|I|W|SEND_F|RECV_F|SEND_B|RECV_B><micro-batch>, such as 2F0");
  CHECK(csv_error("0F0,,0F1,0B1,0B0\n") ==
        "schedule my.csv: row 1 (rank 0), column 4: 0B1 adds to the weights' gradients of stage 0 before "
        "micro-batch 0; "
        "they must come in micro-batch order");
  CHECK(csv_error("0F0,,,0B0,0F1,0B1\n,1F0,1F1,,1B0,1B1\n") ==
        "schedule my.csv: the lists deadlock with 1 credits per edge\n"
        "  row 1 (rank 0), column 4: 0RECV_B0 waits for 1SEND_B0 of rank 1\n"
        "  row 2 (rank 1), column 3: 1RECV_F1 waits for 0SEND_F1 of rank 0");
  CHECK(csv_error("") == "my.csv: the file holds no schedule; it needs one row of actions per rank");
  CHECK(csv_error("\n\n") == "my.csv: the file holds no schedule; it needs one row of actions per rank");
  CHECK(csv_error("0F0,0B0\n,,\n1F0,1B0\n") == "my.csv: row 2 (rank 1) holds no action");
  CHECK(csv_error("0F0,0B0\n2F0,2B0\n") == "my.csv: stage 2 is named, but stage 1 is on no row");
  CHECK(csv_error("2000000000F0\n") ==
        "my.csv: stage 1073741824 is named, so there are 1073741825 stages, but only 1 actions");
  CHECK(csv_error("0F0,0B0,0F2000000000\n") ==
        "schedule my.csv: row 1 (rank 0), column 3: 0F2000000000 is of no micro-batch; the micro-batches are "
        "0 to 1073741824");
  CHECK(csv_error("0F0,0B0,0F3\n") == "schedule my.csv: rank 0 lacks 0F1");
  CHECK(csv_error("(0F0;0B0)OVERLAP\n").find("row 1, column 1: '(0F0;0B0)OVERLAP' is not an action") !=
        std::string::npos);
}

TEST_CASE("text shows who computes what when") {
  const Schedule schedule = make_schedule("1f1b", {2, 2, 1, false});
  CHECK(to_text(schedule, simulate(schedule, {})) ==
        "time   | 0\n"
        "rank 0 | F0 F1 .. .. B0 == .. B1 ==\n"
        "rank 1 | .. F0 B0 == F1 B1 == .. ..\n"
        "1f1b: 2 ranks, 2 micro-batches\n"
        "makespan 9, bubble 33.3 %, peak activations by stage 2 1\n");
}

TEST_CASE("text of several stages per rank names the stage, and ticks are as fine as needed") {
  const Schedule schedule = schedule_of("v-shape", 4, 1, {"0F0 3F0 3B0 0B0", "1F0 2F0 2B0 1B0"});
  CHECK(to_text(schedule, simulate(schedule, {1, 1, 1, 0.25})) ==
        "time   | 0                                       2.5                                     5\n"
        "rank 0 | 0F0 ==  ..  ..  ..  ..  ..  ..  3F0 ==  3B0 ==  ==  ==  ..  ..  ..  ..  ..  ..  ..  ..  .. "
        " ..  0B0 ==  ==  ==\n"
        "rank 1 | ..  ..  ..  1F0 ==  2F0 ==  ..  ..  ..  ..  ..  ..  ..  ..  2B0 ==  ==  ==  1B0 ==  ==  == "
        " ..  ..  ..  ..  ..\n"
        "v-shape: 2 ranks, 4 stages, 1 micro-batch\n"
        "makespan 7, bubble 57.1 %, peak activations by stage 1 1 1 1\n");
}

TEST_CASE("text of free or incommensurable costs stays small") {
  const Schedule schedule = make_schedule("1f1b", {2, 2, 1, false});
  CHECK(to_text(schedule, simulate(schedule, {0, 0, 0, 0})).find("makespan 0, bubble 0.0 %") !=
        std::string::npos);
  CHECK(to_text(schedule, simulate(schedule, {1e-7, 1, 1e9, 0})).size() < 1000000);
  CHECK(to_text(schedule, simulate(schedule, {1, 3.14159, 2.71828, 0.1})).size() < 10000);
}

TEST_CASE("the picture of 1F1B in the docs is what schedule draws") {
  const Schedule made = make_schedule("1f1b", {4, 8, 1, false});
  INFO("scripts/update_docs.sh draws it again");
  CHECK((contents(std::string(COLLIE_SOURCE_DIR) + "/docs/1f1b.svg") == to_svg(made, simulate(made, {}))));
}

TEST_CASE("a picture has a lane per rank, a box per compute action and what was made of the name escaped") {
  Schedule schedule = make_schedule("1f1b", {4, 8, 1, true});
  schedule.name = "a folder/<my> & \"name\"";
  const std::string svg = to_svg(schedule, simulate(schedule, {1, 1.5, 0.5, 0.25}));
  const auto count = [&](const std::string& part) {
    size_t found = 0;
    for (size_t at = svg.find(part); at != std::string::npos; at = svg.find(part, at + 1)) ++found;
    return found;
  };
  CHECK(svg.rfind("<svg xmlns=", 0) == 0);
  CHECK(count("<title>") == 4 * 8 * 3);
  CHECK(count(">rank ") == 4);
  CHECK(count("&lt;my&gt; &amp; &quot;name&quot;: 4 ranks, 8 micro-batches") == 1);
  CHECK(count("a folder") == 0);
  CHECK(count("I: backward, input") == 1);
  CHECK(count("B: backward<") == 0);
  CHECK(count("<g>") == count("</g>"));
  CHECK(svg.substr(svg.size() - 7) == "</svg>\n");
}
