// Templates against Jinja2 as transformers sets it up: tests/golden/make_jinja_golden.py made the goldens.
#include <atomic>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/template.hpp"
#include "io/json_text.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/paths.hpp"

using namespace collie;
using collie::test::contains;
using jinja::Template;
using nlohmann::ordered_json;

namespace {

std::tm time_of(int year, int month, int day, int hour, int minute, int second) {
  std::tm now{};
  now.tm_year = year - 1900;
  now.tm_mon = month - 1;
  now.tm_mday = day;
  now.tm_hour = hour;
  now.tm_min = minute;
  now.tm_sec = second;
  now.tm_isdst = -1;
  std::mktime(&now);
  return now;
}

jinja::Rendering render(const std::string& source, const ordered_json& variables = ordered_json::object()) {
  const jinja::Value values = jinja::value_of_json(variables);
  return Template(source, "t.jinja").render(values.dict(), time_of(2026, 3, 5, 14, 7, 9), "data.jsonl:3");
}

// The message with which a template is refused, when it is read or when it is rendered.
std::string refusal_of_template(const std::string& source,
                                const ordered_json& variables = ordered_json::object()) {
  try {
    const std::string text = render(source, variables).text;
    return "no refusal: " + text.substr(0, 200);
  } catch (const UserError& error) {
    return error.what();
  }
}

bool is_allowed(const std::string& message, const ordered_json& allowed) {
  for (const auto& reason : allowed)
    if (message.find(reason.get<std::string>()) != std::string::npos) return true;
  return false;
}

}  // namespace

TEST_CASE("templates give the texts and generation spans of Jinja2") {
  const auto path = test::source_folder() / "tests/golden/jinja.json";
  const auto golden = parse_ordered_json(read_text_file(path.string()), "jinja.json");
  int equal = 0, refused = 0, refused_by_name = 0;
  for (const auto& sample : golden["cases"]) {
    const auto source = sample[0].get<std::string>();
    CAPTURE(source, sample[1].get<std::string>());
    const ordered_json& variables = golden["variables"][sample[1].get<std::string>()];
    if (sample[2].is_null()) {
      CHECK_THROWS_AS(render(source, variables), UserError);
      ++refused;
      continue;
    }
    try {
      const auto rendering = render(source, variables);
      CHECK(rendering.text == sample[2].get<std::string>());
      ordered_json spans = ordered_json::array();
      for (const auto& generation : rendering.generations)
        spans.push_back({generation.begin, generation.end});
      CHECK(spans == sample[3]);
      ++equal;
    } catch (const UserError& error) {
      INFO(error.what());
      CHECK(is_allowed(error.what(), golden["allowed"]));
      ++refused_by_name;
    }
  }
  CHECK(equal > 500);
  CHECK(refused > 100);
  CHECK(refused_by_name < 15);
}

TEST_CASE("a template that is wrong is refused with file, line, what is found and what would be right") {
  CHECK(refusal_of_template("a\n{% if x %}\n") ==
        "t.jinja:2: the template ends where '{% endif %}' would be right");
  CHECK(refusal_of_template("{{ x y }}") == "t.jinja:1: found 'y' where '}}' would be right");
  CHECK(refusal_of_template("\n\n{% for x of y %}") == "t.jinja:3: found 'of' where 'in' would be right");
  CHECK(refusal_of_template("{% if 1 %}{% endfor %}") ==
        "t.jinja:1: found the tag 'endfor' where 'elif' or 'else' or 'endif' would be right");
  CHECK(refusal_of_template("{{ (1] }}") == "t.jinja:1: ']' is found where ')' would be right");
  CHECK(refusal_of_template("x\n{{ 'a\n}}") == "t.jinja:2: a string has no end; ' is missing");
  CHECK(refusal_of_template("{{ 1\n") == "t.jinja:1: '}}' is missing");
  CHECK(refusal_of_template("{{ '\\ud800' }}") ==
        "t.jinja:1: an escape of a string names U+D800, which is no character");
  CHECK_THAT(refusal_of_template("\xFF"), contains("t.jinja: byte 0 is not UTF-8"));
  CHECK(refusal_of_template("{{ 99999999999999999999 }}") ==
        "t.jinja:1: an int goes beyond 64 bits, which is not supported");
}

TEST_CASE("what Jinja2 has and the engine lacks is refused when a template is read") {
  CHECK(refusal_of_template("a\n{% if 0 %}{{ x | groupby('a') }}{% endif %}") ==
        "t.jinja:2: the filter 'groupby' is not supported");
  CHECK(refusal_of_template("{% include 'x' %}") ==
        "t.jinja:1: the tag 'include' is not supported; a chat template stands alone");
  CHECK(refusal_of_template("{% if 0 %}{{ cycler(1) }}{% endif %}") ==
        "t.jinja:1: the function 'cycler' is not supported");
  // They are defined, as in Jinja2, and may be asked for.
  CHECK(refusal_of_template(
            "{% if cycler is defined and joiner is callable %}{{ raise_exception('yes') }}{% endif %}")
            .find("yes") != std::string::npos);
  CHECK_THAT(refusal_of_template("{% set c = cycler %}{{ c(1) }}"),
             contains("cycler() and joiner() are not supported"));
  CHECK(refusal_of_template("{% if 0 %}{{ x.encode() }}{% endif %}") ==
        "t.jinja:1: the method 'encode' is not supported");
  CHECK(refusal_of_template("{{ 1 | nothing }}") == "t.jinja:1: there is no filter 'nothing'");
  CHECK(refusal_of_template("{{ 1 is nothing }}") == "t.jinja:1: there is no test 'nothing'");
}

TEST_CASE("what a template refuses reaches the user with its own words and the sample's place") {
  CHECK(refusal_of_template("\n{{ raise_exception('Roles must alternate.') }}") ==
        "data.jsonl:3: the template (t.jinja:2) refuses this: Roles must alternate.");
  CHECK(refusal_of_template("\n\n{{ x.y }}") == "data.jsonl:3: t.jinja:3: 'x' is undefined");
  CHECK(refusal_of_template("{{ {'a': 1}.b.c }}") ==
        "data.jsonl:3: t.jinja:1: 'dict object' has no attribute 'b'");
  CHECK(refusal_of_template("{{ [1].append(2) }}") ==
        "data.jsonl:3: t.jinja:1: 'append' of a list changes it, which templates may not do; build a new one "
        "with + or a loop");
  CHECK(refusal_of_template("{% macro m(a) %}{% endmacro %}{{ m(b=1) }}") ==
        "data.jsonl:3: t.jinja:1: the macro 'm' has no argument 'b'");
  CHECK(refusal_of_template("{{ 'a' | replace('b') }}") ==
        "data.jsonl:3: t.jinja:1: the filter 'replace' misses its argument 'new'");
}

TEST_CASE("dicts keep the order of their keys") {
  const auto variables = parse_ordered_json(R"({"d": {"z": 1, "a": {"y": 2, "b": 3}, "m": 4}})", "test");
  CHECK(render("{{ d }}{{ d | tojson }}", variables).text ==
        R"({'z': 1, 'a': {'y': 2, 'b': 3}, 'm': 4}{"z": 1, "a": {"y": 2, "b": 3}, "m": 4})");
}

TEST_CASE("a generation block whose place is not known is named") {
  const auto rendering =
      render("{% macro m() %}{% generation %}x{% endgeneration %}{% endmacro %}\n{{ m() }}");
  CHECK(rendering.text == "x");
  CHECK(rendering.generations.empty());
  CHECK_THAT(rendering.generation_problem, contains("line 1: a generation block is inside of a macro"));
  CHECK(Template("{% if 0 %}{% generation %}x{% endgeneration %}{% endif %}", "t").has_generation());
  CHECK_FALSE(Template("{{ 'generation' }}", "t").has_generation());
}

TEST_CASE("a template that loops, recurses or grows without end is refused") {
  const std::string loops =
      "{% for a in range(90000) %}{% for b in range(90000) %}{{ '' }}{% endfor %}{% endfor %}";
  CHECK_THAT(refusal_of_template(loops), contains("more than 20000000 steps"));
  CHECK_THAT(refusal_of_template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
             contains("more than 100 calls of macros"));
  CHECK_THAT(refusal_of_template("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
             contains("one inside the other"));
  CHECK_THAT(refusal_of_template(
                 "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x = "
                 "ns.x + ns.x %}{% endfor %}"),
             contains("a string of"));
  CHECK_THAT(refusal_of_template(
                 "{% set ns = namespace(x=[1, 2]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x "
                 "%}{% endfor %}"),
             contains("steps"));
  CHECK_THAT(refusal_of_template("{{ 'a' * 999999999999 }}"), contains("a string of more than"));
  CHECK_THAT(refusal_of_template("{{ [1] * 999999999999 }}"), contains("steps"));
  CHECK_THAT(refusal_of_template("{% set x = 'a' * 9000000 %}{% for i in range(9) %}{{ x }}{% endfor %}"),
             contains("longer than 67108864 bytes"));
  CHECK_THAT(refusal_of_template("{{ 'a' | center(999999999) }}"), contains("a width is more than"));
  CHECK_THAT(refusal_of_template("{{ '%999999999d' % 1 }}"), contains("more than 100000"));
  CHECK_THAT(refusal_of_template("{{ '%.999999999f' % 1 }}"), contains("more than 100000"));
  CHECK_THAT(refusal_of_template("{{ '{:999999999}'.format(1) }}"), contains("more than 100000"));
  CHECK_THAT(refusal_of_template("{{ range(999999999) }}"), contains("more than 100000 items"));
  CHECK_THAT(refusal_of_template("{{ [1] | batch(999999999, 0) | list }}"), contains("steps"));
  CHECK_THAT(refusal_of_template("{{ [1] | slice(999999999) | list }}"), contains("steps"));
  CHECK_THAT(refusal_of_template("{{ strftime_now('%c' * 1000) }}"), contains("at most 1000"));
  CHECK_THAT(refusal_of_template("{{ 9 ** 99 }}"), contains("64 bits"));
}

TEST_CASE("a template that is nested too deep, or makes values that are, is refused") {
  const auto repeated = [](const std::string& text, int times) {
    std::string result;
    for (int i = 0; i < times; ++i) result += text;
    return result;
  };
  CHECK_THAT(refusal_of_template("{{ " + repeated("(", 100000) + "1" + repeated(")", 100000) + " }}"),
             contains("one inside the other"));
  CHECK_THAT(refusal_of_template("{{ " + repeated("[", 100000) + repeated("]", 100000) + " }}"),
             contains("one inside the other"));
  CHECK_THAT(refusal_of_template("{{ " + repeated("- ", 100000) + "1 }}"), contains("one inside the other"));
  CHECK_THAT(refusal_of_template("{{ " + repeated("not ", 100000) + "1 }}"),
             contains("one inside the other"));
  CHECK_THAT(refusal_of_template("{{ 1" + repeated(" + 1", 100000) + " }}"),
             contains("more than 600 operators"));
  CHECK_THAT(refusal_of_template("{{ x" + repeated(".a", 100000) + " }}"),
             contains("more than 600 operators"));
  CHECK_THAT(refusal_of_template("{{ x" + repeated(" | list", 100000) + " }}"),
             contains("more than 600 operators"));
  CHECK_THAT(refusal_of_template("{{ 1" + repeated(" if 1 else 1", 100000) + " }}"),
             contains("one inside the other"));
  CHECK_THAT(refusal_of_template(repeated("{% if 1 %}", 100000)), contains("one inside the other"));
  CHECK_THAT(refusal_of_template("{% set " + repeated("(", 100000) + "a" + repeated(")", 100000) + " = 1 %}"),
             contains("one inside the other"));
  CHECK_THAT(
      refusal_of_template(
          "{% set ns = namespace(x=1) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}"),
      contains("more than 200 lists and dicts"));
  CHECK_THAT(refusal_of_template(
                 "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x].index "
                 "%}{% endfor %}"),
             contains("one inside the other"));
  CHECK_THAT(refusal_of_template(
                 "{% set ns = namespace(x=[1]) %}{% for i in range(150) %}{% set ns.x = [ns.x, ns.x] "
                 "%}{% endfor %}{{ ns.x }}"),
             contains("a string of more than"));
  CHECK_THAT(refusal_of_template(std::string(jinja::largest_template + 1, ' ')), contains("at most 4194304"));
  CHECK(render("{{ 1" + repeated(" + 1", 500) + " }}").text == "501");
}

TEST_CASE("namespaces, macros and loops that hold each other are let go") {
  const std::string chain =
      "{% set ns = namespace(x=1) %}{% for i in range(90000) %}{% set ns.x = namespace(y=ns.x) %}{% endfor "
      "%}done";
  CHECK(render(chain).text == "done");
  CHECK(render("{% set a = namespace() %}{% set a.a = a %}{% set a.l = [a] %}ok").text == "ok");
  CHECK_THAT(refusal_of_template("{% set a = namespace() %}{% set a.a = a %}{{ a }}"),
             contains("namespaces are one inside the other"));
  const std::string macros =
      "{% set ns = namespace(m=none) %}{% for i in range(20000) %}{% macro m() %}{{ i }}{% endmacro %}{% set "
      "ns.m = [m, ns.l] %}"
      "{% set ns.l = loop %}{% endfor %}{{ ns.m[0]() }}";
  CHECK(render(macros).text == "19999");
  CHECK_THAT(
      refusal_of_template(
          "{% set ns = namespace() %}{% for i in [1] %}{% set ns.l = loop %}{% endfor %}{{ ns.l.last }}"),
      contains("after its end"));
}

TEST_CASE("searching takes linear time") {
  const std::string start = "{% set a = 'a' * 4000000 %}{% set b = 'a' * 2000000 ~ 'b' %}";
  CHECK(render(start + "{{ a.find(b) }}{{ b in a }}{{ a.count(b) }}{{ a.replace(b, '') | length }}").text ==
        "-1False04000000");
  CHECK_THAT(refusal_of_template(start + "{{ a.rfind(b) }}"), contains("steps"));
  CHECK_THAT(refusal_of_template(start + "{{ a.rsplit(b) | length }}"), contains("steps"));
  CHECK_THAT(refusal_of_template(start + "{{ a.strip(b) | length }}"), contains("steps"));
}

TEST_CASE("whatever becomes of a template, it renders or is refused") {
  const auto path = test::source_folder() / "tests/golden/jinja.json";
  const auto golden = parse_ordered_json(read_text_file(path.string()), "jinja.json");
  const auto& cases = golden["cases"];
  std::mt19937 random(1);
  const auto below = [&](size_t count) { return static_cast<size_t>(random() % count); };
  const auto some_case = [&] { return cases[below(cases.size())][0].get<std::string>(); };
  int rendered = 0, refused = 0;
  for (int i = 0; i < 6000; ++i) {
    std::string source = some_case();
    for (size_t changes = 1 + below(3); changes > 0 && !source.empty(); --changes) {
      const size_t at = below(source.size()), count = below(8);
      const std::string other = some_case();
      const size_t from = below(other.size() + 1);
      switch (below(4)) {
        case 0:
          source.erase(at, count);
          break;
        case 1:
          source.insert(at, other.substr(from, 1 + below(20)));
          break;
        case 2:
          source.insert(at, source.substr(below(source.size()), count));
          break;
        default:
          source[at] = "{}%#()[]|.,~+-*'\"=<>: \n09az\xC3"[below(29)];
      }
    }
    CAPTURE(source);
    try {
      render(source, golden["variables"]["names"]);
      ++rendered;
    } catch (const UserError& error) {
      CHECK(std::string(error.what()).size() < 700);
      ++refused;
    }
  }
  CHECK(rendered > 500);
  CHECK(refused > 500);
}

TEST_CASE("one template renders on several threads at once") {
  const Template made(
      "{% set ns = namespace(t=0) %}{% for x in l %}{% set ns.t = ns.t + x %}{% endfor %}{{ ns.t }}",
      "t.jinja");
  const jinja::Value values = jinja::value_of_json(ordered_json{{"l", {1, 2, 3, 4}}});
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 200; ++k)
        if (made.render(values.dict(), {}, "sample").text == "10") ++right;
    });
  for (auto& thread : threads) thread.join();
  CHECK(right == 800);
}
