// The samples of evaluation sets: templates, records, and what is refused of them.
#include "base/error.hpp"
#include "io/evaluation_samples.hpp"
#include "io/text_template.hpp"
#include "tests/catch.hpp"
#include "tests/io/scratch_folder.hpp"

namespace collie::test {
namespace {

std::string filled(const std::string& text, const std::string& record, bool may_be_key = false) {
  const JsonRecord values({"f:1", record});
  return (may_be_key ? TextTemplate::of_key_or_text(text, "k") : TextTemplate(text, "k")).fill(values);
}

template <class Work>
std::string refusal(const Work& work) {
  try {
    work();
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

TEST_CASE("templates: keys in braces, and braces themselves") {
  const std::string record =
      R"({"q": "é{x}", "n": 3, "f": 0.5, "b": true, "": "e", "list": [1], "null": null})";
  CHECK(filled("Q: {q}\nA{{{n}}}: {f} {b}", record) == "Q: é{x}\nA{3}: 0.5 true");
  CHECK(filled("", record).empty());
  CHECK(filled("q", record) == "q");
  CHECK(filled("q", record, true) == "é{x}");
  CHECK(filled("{q}.", record, true) == "é{x}.");
  const auto refused = [&](const std::string& text) { return refusal([&] { filled(text, record); }); };
  CHECK(refused("a {q") == "k: found '{' in 'a {q'; {KEY} is wanted, and {{ or }} for a brace itself");
  CHECK(refused("a } b") == "k: found '}' in 'a } b'; {KEY} is wanted, and {{ or }} for a brace itself");
  CHECK(refused("{}") == "k: found '{}' in '{}'; {KEY} is wanted, and {{ or }} for a brace itself");
  CHECK(refused("{list}") == "f:1: key 'list' must be a text, a number, true or false, not array");
  CHECK(refused("{null}") == "f:1: key 'null' must be a text, a number, true or false, not null");
  CHECK(refused("{z}").starts_with("f:1: it has no key 'z'; it has: 'q', 'n'"));
}

struct Choices {
  ScratchFolder folder;
  EvalSet set;

  explicit Choices(const std::string& lines) {
    set.name = "s";
    set.kind = "classification";
    set.source.path = folder.write("s.jsonl", lines);
    set.source.prompt = "p";
    set.options_column = "o";
    set.label = "l";
  }
  std::vector<ClassificationSample> read() const {
    return read_classification_samples(set, {}, "eval.sets.0");
  }
  std::string refusal_of() const {
    std::string message = refusal([&] { read(); });
    const size_t at = message.find(folder.path() + "/");
    return at == std::string::npos ? message : message.erase(at, folder.path().size() + 1);
  }
};

TEST_CASE("samples of a classification: options of the record or of the set, labels by number or text") {
  Choices choices(
      "{\"p\": \"a\", \"o\": [\"x\", \"y\"], \"l\": 1}\n\n  \r\n"
      "{\"p\": \"b\", \"o\": [\"x\", \"y\", \"z\"], \"l\": \"z\"}");
  const auto samples = choices.read();
  REQUIRE(samples.size() == 2);
  CHECK(samples[0].prompt == "a");
  CHECK(samples[0].label == 1);
  CHECK(samples[1].options.size() == 3);
  CHECK(samples[1].label == 2);
  CHECK(samples[1].place.ends_with("s.jsonl:4"));
  choices.set.options_column.clear();
  choices.set.options = {"z", "say {p}"};
  choices.set.label = "p";
  CHECK(choices.refusal_of() ==
        "s.jsonl:1: p is 'a', which is no option (the nearest is 'z'); the options are 'z', 'say a'");
  choices.set.label = "l";
  CHECK(choices.refusal_of() == "accepted");
  choices.set.limit = 1;
  CHECK(choices.read().size() == 1);
}

TEST_CASE("samples of a classification: what is wrong with a line is said with its place") {
  const auto refused = [](const std::string& line) {
    return Choices("{\"p\": \"a\", \"o\": [\"x\", \"y\"], \"l\": 0}\n" + line).refusal_of();
  };
  CHECK(refused("[1]") == "s.jsonl:2: it must be a JSON object, not [1]");
  CHECK(refused("{\"p\": \"a\", \"o\": [\"x\", \"y\"]}") == "s.jsonl:2: it has no key 'l'; it has: 'p', 'o'");
  CHECK(refused("{\"p\": \"a\", \"l\": 0}") == "s.jsonl:2: it has no key 'o'; it has: 'p', 'l'");
  CHECK(refused("{\"p\": \"a\", \"o\": \"x\", \"l\": 0}") ==
        "s.jsonl:2: key 'o' must be a list of texts, not \"x\"");
  CHECK(refused("{\"p\": \"a\", \"o\": [\"x\"], \"l\": 0}") ==
        "s.jsonl:2: 1 options; two at least are something to choose from");
  CHECK(refused("{\"p\": \"a\", \"o\": [\"x\", \"x\"], \"l\": 0}") ==
        "s.jsonl:2: the option 'x' is there twice; each is wanted once");
  CHECK(refused("{\"p\": \"a\", \"o\": [\"x\", \"\"], \"l\": 0}") ==
        "s.jsonl:2: option 1 is empty; a text is wanted");
  CHECK(refused("{\"p\": \"a\", \"o\": [\"x\", \"y\"], \"l\": 2}") ==
        "s.jsonl:2: l is 2; the number of an option, from 0 to 1, is wanted");
  CHECK(refused("{\"p\": \"a\", \"o\": [\"x\", \"y\"], \"l\": -1}") ==
        "s.jsonl:2: l is -1; the number of an option, from 0 to 1, is wanted");
  CHECK(refused("{\"p\": \"a\", \"o\": [\"apple\", \"y\"], \"l\": \"aple\"}") ==
        "s.jsonl:2: l is 'aple', which is no option (the nearest is 'apple'); the options are 'apple', 'y'");
  CHECK(refused("{\"p\": \"a\", \"o\": [\"x\", \"y\"], \"l\": 0.5}") ==
        "s.jsonl:2: key 'l' must be the number or the text of an option, not number");
  CHECK(refused("{\"p\": \"\xff\"}") == "s.jsonl:2: byte 7 of the line is not UTF-8");
  CHECK(Choices("\n").refusal_of().ends_with("has no sample; a JSON object a line is wanted"));
  Choices absent("\n");
  absent.set.source.path = "/nowhere/*.jsonl";
  CHECK(absent.refusal_of().starts_with("eval.sets.0.path: "));
}

TEST_CASE("samples of a generation: one reference or several, of a key or a template") {
  const ScratchFolder folder;
  EvalSet set;
  set.kind = "generation";
  set.source.path =
      folder.write("g.jsonl", "{\"q\": 1, \"a\": \"x\"}\n{\"q\": \"b\", \"a\": [\"y\", \"z\"]}\n");
  set.source.prompt = "Q{q}";
  set.reference = "a";
  const auto samples = read_generation_samples(set, {}, "eval.sets.0");
  REQUIRE(samples.size() == 2);
  CHECK(samples[0].prompt == "Q1");
  CHECK(samples[0].references == std::vector<std::string>{"x"});
  CHECK(samples[1].references == std::vector<std::string>{"y", "z"});
  set.reference = "<{a}>";
  set.limit = 1;
  CHECK(read_generation_samples(set, {}, "eval.sets.0")[0].references == std::vector<std::string>{"<x>"});
  set.reference = "a";
  set.limit = 0;
  set.source.path = folder.write("h.jsonl", "{\"q\": 1, \"a\": []}\n");
  CHECK(refusal([&] {
          read_generation_samples(set, {}, "eval.sets.0");
        }).ends_with("h.jsonl:1: key 'a' is an empty list; a text at least is wanted"));
}

}  // namespace
}  // namespace collie::test
