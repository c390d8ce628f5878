// summary.html: what it shows of a run, and that it stays small and needs no network.
#include <fmt/format.h>

#include "runtime/page/chart.hpp"
#include "runtime/page/page.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"

namespace collie::test {

namespace {

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

RunPage page_of_steps(int64_t steps) {
  RunPage page;
  page.name = "a <b> & \"c\"";
  page.status = "completed";
  for (int64_t step = 1; step <= steps; ++step) {
    nlohmann::json record{
        {"step", step}, {"epoch", 0},       {"loss", 5.0 - 1e-6 * static_cast<double>(step)},
        {"lr", 1e-3},   {"grad_norm", 2.5}, {"memory_bytes", 1 << 20}};
    if (step % 50 == 0) record["eval_loss"] = 4.5;
    page.records.push_back(record);
  }
  return page;
}

TaskSpan span(const std::string& task, double start_s, double end_s) {
  return {task, start_s, end_s};
}

}  // namespace

TEST_CASE("summary page: every number of the records has a curve, and the losses share one", "[page]") {
  RunPage page = page_of_steps(100);
  page.records[3]["gsm8k/accuracy"] = 0.25;
  page.records[4]["loss"] = nullptr;
  const std::string html = html_of(page);
  CHECK(count_of(html, "<figure") == 5);  // losses, lr, grad_norm, memory_bytes, gsm8k/accuracy
  CHECK(count_of(html, "<polyline") == 6);
  CHECK_THAT(html, contains("</span>eval_loss</span>"));
  CHECK_THAT(html, contains("<h3>gsm8k/accuracy</h3>"));
  CHECK(count_of(html, "<circle") == 3);  // two evaluations, one accuracy
}

TEST_CASE("summary page: names are text, and nothing comes from elsewhere", "[page]") {
  RunPage page = page_of_steps(10);
  page.configuration = "run: <script>alert(1)</script>";
  const std::string html = html_of(page);
  CHECK_THAT(html, contains("<h1>a &lt;b&gt; &amp; &quot;c&quot;</h1>"));
  CHECK(count_of(html, "<script") == 0);
  CHECK(count_of(html, "http") == 0);
  CHECK(count_of(html, "url(") == 0);
}

TEST_CASE("summary page: a million steps and tasks make a page below a megabyte", "[page]") {
  RunPage page = page_of_steps(200'000);
  page.traced.resize(2);
  for (int i = 0; i < 50'000; ++i)
    for (ProgramDone& rank : page.traced) rank.spans.push_back(span("0F1", i, i + 0.5 + 1e-6 * i));
  const std::string html = html_of(page);
  CHECK(html.size() < 1'000'000);
  CHECK(count_of(html, "<rect") <= 4'000);
  CHECK(count_of(html, "<rect") > 3'000);
}

TEST_CASE("summary page: ranks' time, memory and tasks are drawn", "[page]") {
  RunPage page = page_of_steps(10);
  RankSummary rank;
  rank.peak_bytes.assign(category_count, 1 << 20);
  rank.peak_total_bytes = 3 << 20;
  rank.communicating_s = 1.0;
  rank.sent_bytes = 1 << 10;
  page.ranks = {rank, rank};
  page.busy_s = {6.0, 4.0};
  page.wall_s = 10;
  page.traced_step = 3;
  page.traced.resize(2);
  page.traced[0].spans = {span("0F0", 100, 101), span("0B0", 103, 105)};
  page.traced[1].spans = {span("1F0", 101, 102), span("update", 105, 105.5)};
  page.traced[1].communication_spans = {span("reduce", 104, 105)};
  const std::string html = html_of(page);
  CHECK_THAT(html, contains("<td>50 %</td><td>10 %</td><td>40 %</td><td>1.00 KiB</td>"));
  CHECK_THAT(html, contains("<td>30 %</td><td>10 %</td><td>60 %</td>"));
  CHECK_THAT(html, contains("Step 3, rank by rank"));
  CHECK(count_of(html, "<rect") == 5);
  CHECK_THAT(html, contains("<rect class=\"s1\"") && contains("0B0: 2000.000 ms") && contains("5500.0 ms"));
}

TEST_CASE("summary page: a run without a step has a page, too", "[page]") {
  RunPage page;
  page.name = "none";
  CHECK_THAT(html_of(page), contains("No step was recorded"));
}

TEST_CASE("summary page: lines that are no records are left out", "[page]") {
  const TemporaryFolder folder;
  folder.write("metrics.jsonl",
               "{\"step\": 1, \"loss\": 2.5}\nnonsense\n[1]\n{\"step\": 2}\n{\"step\": 3, \"lo");
  const auto records = records_in((folder / "metrics.jsonl").string());
  REQUIRE(records.size() == 2);
  CHECK(records[0].at("loss") == 2.5);
  CHECK(records[1].at("step") == 2);
  CHECK(records_in((folder / "absent").string()).empty());
}

TEST_CASE("chart: a curve that does not move is in the middle, and one point is a dot", "[page]") {
  const auto words = [](double value) { return fmt::format("{:.2f}", value); };
  const std::string flat = chart_svg({{"x", {{1, 2.0}, {5, 2.0}}}}, words);
  CHECK_THAT(flat, contains("points=\"66.0,102.0 548.0,102.0\""));
  const std::string one = chart_svg({{"x", {{7, -3.0}}}}, words);
  CHECK(count_of(one, "<circle") == 1);
  CHECK_THAT(one, contains("step 7: -3.00"));
}

}  // namespace collie::test
