// The text that Prometheus reads.
#include "io/prometheus_text.hpp"

#include <cmath>

#include "tests/catch.hpp"
#include "tests/io/prometheus_reader.hpp"

using namespace collie;
using collie::test::PrometheusFamilies;
using collie::test::PrometheusReader;
using Type = PrometheusText::Type;

TEST_CASE("Prometheus: names, help, types and samples are written as the format wants them") {
  PrometheusText page;
  page.add("collie_loss", Type::gauge, "The loss.", {}, 2.5);
  page.add("collie_peak", Type::gauge, "Bytes.", {{"rank", "0"}, {"category", "weights"}}, 3e9);
  page.add("collie_peak", Type::gauge, "not this", {{"rank", "1"}, {"category", "weights"}}, 1);
  page.add("collie_read_total", Type::counter, "Tokens.", {}, 0.1);
  CHECK(page.text() ==
        "# HELP collie_loss The loss.\n# TYPE collie_loss gauge\ncollie_loss 2.5\n"
        "# HELP collie_peak Bytes.\n# TYPE collie_peak gauge\n"
        "collie_peak{rank=\"0\",category=\"weights\"} 3000000000\n"
        "collie_peak{rank=\"1\",category=\"weights\"} 1\n"
        "# HELP collie_read_total Tokens.\n# TYPE collie_read_total counter\ncollie_read_total 0.1\n");
}

TEST_CASE("Prometheus: any text and any number is read back as it was") {
  const std::vector<std::string> texts = {"",   "a b",     "\\",          "\"",
                                          "\n", "\\n\\\"", "{x=\"1\"} 2", "caf\xc3\xa9"};
  const std::vector<double> numbers = {0,     -0.0,         1.0 / 3,  5e-324,   1.7976931348623157e308,
                                       -1e-7, 123456789012, INFINITY, -INFINITY};
  PrometheusText page;
  for (size_t i = 0; i < texts.size(); ++i)
    page.add("m", Type::gauge, "help \\ with\nlines \"quoted\"", {{"text", texts[i]}, {"other", "x"}},
             numbers[i]);
  page.add("n", Type::gauge, "", {}, numbers.back());
  page.add("nan", Type::gauge, "", {}, NAN);
  const PrometheusFamilies read = PrometheusReader::read(page.text());
  REQUIRE(read.at("m").samples.size() == texts.size());
  for (size_t i = 0; i < texts.size(); ++i)
    CHECK(read.at("m").samples.at({{"text", texts[i]}, {"other", "x"}}) == numbers[i]);
  CHECK(read.at("m").help == "help \\\\ with\\nlines \"quoted\"");
  CHECK(read.at("n").samples.at({}) == -INFINITY);
  CHECK(std::isnan(read.at("nan").samples.at({})));
}

TEST_CASE("Prometheus: names that it does not allow become ones that it does") {
  CHECK(prometheus_name("collie_loss:x9") == "collie_loss:x9");
  CHECK(prometheus_name("9 lives/caf\xc3\xa9") == "_9_lives_caf__");
  CHECK(prometheus_name("") == "_");
  PrometheusText page;
  page.add("a-b", Type::gauge, "", {{"x:y", "1"}, {"label 2", "bad utf-8 \xff"}}, 1);
  const PrometheusFamilies read = PrometheusReader::read(page.text());
  CHECK(read.at("a_b").samples.begin()->first ==
        std::map<std::string, std::string>{{"x_y", "1"}, {"label_2", "bad utf-8 \xef\xbf\xbd"}});
}

TEST_CASE("Prometheus: a name cannot be a gauge and a counter") {
  PrometheusText page;
  page.add("a", Type::gauge, "", {}, 1);
  CHECK_THROWS_AS(page.add("a", Type::counter, "", {}, 1), std::logic_error);
}
