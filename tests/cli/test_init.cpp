// collie-engine init: a configuration that runs as it is, from options and from a dialogue.
#include <fcntl.h>

#include "base/descriptor.hpp"
#include "io/config.hpp"
#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

// A model's folder, which a short run has left.
std::string make_model(const Workbench& bench) {
  require_done(bench.run("first", {"train.steps=1", "parallel.pp_size=1", "data.eval=[]"}));
  return "first/final";
}

Settings init_arguments(const Settings& more) {
  return Settings{"init", "--model", "first/final"} + more;
}

Config read(const std::string& file) {
  std::vector<std::string> warnings;
  return load_config(file, {}, warnings);
}

// The command with `answers` on standard input.
Outcome answered(const Workbench& bench, const Settings& arguments, const std::string& answers) {
  bench.write("answers", answers);
  const Descriptor file(::open((bench / "answers").c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(file.is_open());
  CommandOptions options = bench.options();
  options.descriptors[0] = file.get();
  return run_command(arguments, options);
}

}  // namespace

TEST_CASE("init writes a configuration with comments that trains as it is", "[init][slow]") {
  const Workbench bench;
  make_model(bench);
  const Outcome made =
      bench.command(init_arguments({"--train", "texts/*.txt", "--eval", "held_out.txt", "--steps", "2",
                                    "--name", "next", "--yes", "--out", "new.yaml"}));
  REQUIRE_CODE(made, 0);
  CHECK(made.output.empty());
  const Config config = read(bench / "new.yaml");
  CHECK(config.run.name == "next");
  CHECK(config.run.dir == "runs/next");
  CHECK(config.model.path == "first/final");
  CHECK(config.data.train.at(0).path == "texts/*.txt");
  CHECK(config.data.eval.at(0).path == "held_out.txt");
  CHECK(config.data.sequence_length == 64);  // max_position_embeddings
  CHECK(config.train.steps == 2);
  CHECK(config.optimizer.options.number("lr") == 2e-5);
  const std::string text = text_of(bench / "new.yaml");
  CHECK(has(text, "sequence_length: 64             # tokens of a window; a whole number from 1"));
  CHECK(has(text, "    - {path: \"texts/*.txt\", format: text}\n"));
  require_done(bench.command({"run", "new.yaml"}));
  CHECK(bench.steps_done("runs/next") == 2);
}

TEST_CASE("init proposes LoRA, and a run of it leaves an adapter", "[init][slow]") {
  const Workbench bench;
  make_model(bench);
  require_done(bench.command(init_arguments(
      {"--train", "chat.jsonl", "--adapter", "lora", "--steps", "1", "--yes", "--out", "lora.yaml"})));
  const Config config = read(bench / "lora.yaml");
  CHECK(config.peft.type == "lora");
  CHECK(config.optimizer.options.number("lr") == 2e-4);
  CHECK(config.data.train.at(0).prompt == "question");
  CHECK(config.data.train.at(0).completion == "answer");
  require_done(bench.command({"run", "lora.yaml"}));
  CHECK_FALSE(text_of(bench / "runs/final/final/adapter_config.json").empty());
}

TEST_CASE("init guesses the format of data from its first line", "[init]") {
  const Workbench bench;
  make_model(bench);
  const auto guessed = [&](const std::string& name, const std::string& line) {
    bench.write(name, "\n" + line + "\n");
    const Outcome made = bench.command(init_arguments({"--train", name, "--yes", "--out", "-"}));
    REQUIRE_CODE(made, 0);
    const size_t begin = made.output.find("- {path") + 2;
    return made.output.substr(begin, made.output.find('\n', begin) - begin);
  };
  CHECK(guessed("a.jsonl", R"({"id": 1, "text": "x"})") == "{path: a.jsonl, format: jsonl, text: text}");
  CHECK(guessed("b.jsonl", R"({"instruction": "x", "output": "y"})") ==
        "{path: b.jsonl, format: jsonl, prompt: instruction, completion: output}");
  CHECK(guessed("c.jsonl", R"({"conversations": []})") ==
        "{path: c.jsonl, format: chat, messages: conversations}");
  CHECK(guessed("d.jsonl", R"({"input_ids": [1]})") == "{path: d.jsonl, format: tokens, tokens: input_ids}");
  CHECK(guessed("e.md", R"({"text": "x"})") == "{path: e.md, format: text}");
}

TEST_CASE("init asks for what no option says, and asks again where an answer is wrong", "[init]") {
  const Workbench bench;
  make_model(bench);
  const Outcome asked =
      answered(bench, {"init", "--out", "-", "--sequence-length", "32"},
               "nowhere\nfirst/final\ntexts/*.md\ntexts/*.txt\nheld_out.txt\nqlora\nlora\nmany\n3\n");
  REQUIRE_CODE(asked, 0);
  const Outcome given =
      bench.command(init_arguments({"--out", "-", "--sequence-length", "32", "--train", "texts/*.txt",
                                    "--eval", "held_out.txt", "--adapter", "lora", "--epochs", "3"}));
  REQUIRE_CODE(given, 0);
  CHECK(asked.output == given.output);
  for (const std::string part :
       {"--model: cannot read nowhere/config.json", "--train: ", "unknown adapter 'qlora'",
        "--epochs: found 'many'", "the data to evaluate on, or none [none]:"})
    CHECK(has(asked.errors, part));
  const Outcome defaults =
      answered(bench, init_arguments({"--train", "texts/*.txt", "--out", "-"}), "\n\n\n");
  REQUIRE_CODE(defaults, 0);
  CHECK(has(defaults.output, "epochs: 1 "));
  CHECK_FALSE(has(defaults.output, "eval:"));
}

TEST_CASE("init refuses what it cannot make a configuration of", "[init]") {
  const Workbench bench;
  make_model(bench);
  const auto refused = [&](const Settings& more, const Settings& parts) {
    check_refused(bench.command(init_arguments(Settings{"--out", "new.yaml"} + more)), 2, parts);
  };
  refused({"--yes"}, {"--train: missing; the data to train on"});
  refused({"--train", "none/*.txt", "--yes"}, {"--train: ", "none/*.txt"});
  bench.write("odd.jsonl", "{\"body\": \"x\", \"author\": \"y\"}\n");
  refused({"--train", "odd.jsonl", "--yes"}, {"--train: the objects in odd.jsonl have the keys author, body",
                                              "--train '{path: \"odd.jsonl\", format: jsonl, text: KEY}'"});
  bench.write("broken.jsonl", "no json\n");
  refused({"--train", "broken.jsonl", "--yes"}, {"--train: the first line of broken.jsonl"});
  bench.write("empty.jsonl", "\n");
  refused({"--train", "empty.jsonl", "--yes"}, {"--train: empty.jsonl has no lines"});
  refused({"--train", "{path: x, fromat: text}", "--yes"}, {"--train: ", "fromat"});
  refused({"--train", "texts/*.txt", "--epochs", "0", "--yes"}, {"--epochs: found '0'"});
  bench.write("config.yaml", "kept");
  check_refused(bench.command(init_arguments({"--train", "texts/*.txt", "--yes"})), 2,
                {"--out: config.yaml is there"});
  CHECK(text_of(bench / "new.yaml").empty());
  CHECK(text_of(bench / "config.yaml") == "kept");
  require_done(bench.command(init_arguments({"--train", "texts/*.txt", "--yes", "--overwrite"})));
  CHECK(text_of(bench / "config.yaml") != "kept");
  const Outcome ended = answered(bench, {"init", "--out", "-"}, "first/final\n");
  CHECK(ended.code == 2);
  CHECK(has(ended.errors, "standard input ended where --train was asked for"));
}

}  // namespace collie::test
