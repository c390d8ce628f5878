// A new tokenizer, conversations, and whole samples: from files of text to a model that other layouts train
// alike.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/files.hpp"
#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

using nlohmann::json;

constexpr const char* chat_template_text =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

// Trains a tokenizer on the workbench's texts, and puts a chat template beside it.
void make_tokenizer(const Workbench& bench, const std::string& kind) {
  require_done(bench.command({"tokenizer", "train", "texts/*.txt", "--out", "tok", "--vocab-size",
                              kind == "bpe" ? "300" : "290", "--kind", kind, "--min-frequency", "1", "--eos",
                              "<|end|>", "--special", "<|user|>", "--special", "<|assistant|>"}));
  bench.write("tok/chat_template.jinja", chat_template_text);
}

void write_conversations(const Workbench& bench) {
  std::string lines;
  for (int i = 0; i < 24; ++i)
    lines += json{{"messages",
                   {{{"role", "user"}, {"content", fmt::format("What is {}?", i)}},
                    {{"role", "assistant"}, {"content", std::string(static_cast<size_t>(1 + i % 5), 'x')}},
                    {{"role", "user"}, {"content", "And then?"}},
                    {{"role", "assistant"}, {"content", fmt::format("{}.", i + 1)}}}}}
                 .dump() +
             "\n";
  bench.write("talk.jsonl", lines);
}

const Settings on_conversations = {"tokenizer.path=tok",
                                   "tokenizer.kind=auto",
                                   "data.train=[{path: talk.jsonl, format: chat}]",
                                   "data.eval=[]",
                                   "data.packing=auto",
                                   "data.sequence_length=64",
                                   "model.config.vocab_size=300",
                                   "lr_scheduler.name=constant",
                                   "checkpoint.every_n_steps=4"};

}  // namespace

TEST_CASE("a tokenizer that was trained encodes, decodes and is checked", "[data]") {
  for (const std::string kind : {"bpe", "unigram"}) {
    CAPTURE(kind);
    const Workbench bench;
    make_tokenizer(bench, kind);
    const Outcome encoded =
        bench.command({"tokenizer", "encode", "--model", "tok", "--text", " two  words <|end|>"});
    REQUIRE_CODE(encoded, 0);
    std::vector<std::string> arguments = {"tokenizer", "decode", "--model", "tok"};
    for (const json& id : json::parse(encoded.output)) arguments.push_back(id.dump());
    const Outcome decoded = bench.command(arguments);
    REQUIRE_CODE(decoded, 0);
    CHECK(decoded.output == " two  words \n");
    const Outcome shown =
        bench.command({"tokenizer", "encode", "--model", "tok", "--text", "a b", "--starts"});
    REQUIRE_CODE(shown, 0);
    CHECK(json::parse(shown.output)[0]["start"] == 0);
    bench.write("some.txt", "Any text, caf\xC3\xA9.\n");
    const Outcome checked = bench.command({"tokenizer", "check", "--model", "tok", "--file", "some.txt"});
    REQUIRE_CODE(checked, 0);
    const int size = kind == "bpe" ? 300 : 290;
    CHECK(json::parse(checked.output)["vocab_size"] == size);
    CHECK(json::parse(checked.output)["text"]["decodes_to_itself"] == true);
    bench.write("tok/config.json", fmt::format(R"({{"vocab_size": {}}})", size - 1));
    const Outcome refused = bench.command({"tokenizer", "check", "--model", "tok"});
    CHECK(refused.code == 2);
    CHECK(has(refused.errors, fmt::format("ids up to {0}, but config.json's vocab_size is {0}", size - 1)));
    check_refused(bench.command({"tokenizer", "train", "texts/*.txt", "--out", "tok", "--vocab-size", "300"}),
                  2, {"--out: tok has a tokenizer.json"});
  }
  const Workbench bench;
  check_refused(bench.command({"tokenizer", "decode", "--kind", "byte", "many"}), 2, {"ID: found 'many'"});
  check_refused(bench.command({"tokenizer", "encode", "--text", "x"}), 2,
                {"--model: the folder of a tokenizer"});
}

TEST_CASE("conversations train alike on pipeline stages and after a resume, and their template is kept",
          "[data]") {
  const Workbench bench;
  make_tokenizer(bench, "bpe");
  write_conversations(bench);
  const Training one = bench.train("one", on_conversations + Settings{"parallel.pp_size=1"});
  REQUIRE(one.steps.size() == 12);
  CHECK_SAME(one, bench.train("two", on_conversations));
  require_done(bench.run("again", on_conversations + Settings{"train.steps=5"}));
  require_done(bench.resume("again", on_conversations + four_stages));
  CHECK_SAME(one, bench.training("again"));
  CHECK(read_text_file(bench / "one/final/chat_template.jinja") == chat_template_text);

  const Outcome shown =
      bench.command({"data", "config.yaml", "--set", "run.dir=one", "--set", "tokenizer.path=tok", "--set",
                     "tokenizer.kind=auto", "--set", "data.train=[{path: talk.jsonl, format: chat}]", "--set",
                     "data.packing=auto", "--set", "data.sequence_length=64", "--samples", "1"});
  REQUIRE_CODE(shown, 0);
  INFO(shown.output);
  CHECK(has(shown.output, "data.train: 24 documents"));
  CHECK(has(shown.output, "(data.packing: samples)"));
  CHECK(has(shown.output, "What is 0?⟦x⟧And then?⟦1.⟧"));
}

TEST_CASE("a run says what is cut, and refuses or drops it when asked", "[data]") {
  const Workbench bench;
  bench.write("x.jsonl",
              "{\"t\": \"short\"}\n{\"t\": \"" + std::string(200, 'a') + "\"}\n{\"t\": \"tiny\"}\n");
  const Settings lines = {"data.train=[{path: x.jsonl, format: jsonl, text: t}]", "data.packing=samples",
                          "train.steps=1"};
  const Outcome cut = bench.run("cut", lines);
  REQUIRE_CODE(cut, 0);
  CHECK(has(cut.errors,
            "3 documents, 215 tokens, 212 targets, in 7 sequences an epoch; 1 documents do not stay whole"));
  const Outcome dropped = bench.run("dropped", lines + Settings{"data.too_long=drop"});
  REQUIRE_CODE(dropped, 0);
  CHECK(has(dropped.errors, "1 documents are dropped, as they are longer than data.sequence_length, 32"));
  check_refused(bench.run("refused", lines + Settings{"data.too_long=refuse"}), 2,
                {"data.train: document 2 has 202 tokens; a window holds 33"});
}

namespace {

// Two sources, and how often a run has seen each of their documents, by the sum of its targets.
void write_two_sources(const Workbench& bench) {
  std::string some, others;
  for (int i = 0; i < 9; ++i)
    some += json{{"t", std::string(static_cast<size_t>(5 + 3 * i), 'a')}}.dump() + "\n";
  for (int i = 0; i < 5; ++i)
    others += json{{"t", std::string(static_cast<size_t>(9 + 2 * i), 'b')}}.dump() + "\n";
  bench.write("some.jsonl", some);
  bench.write("others.jsonl", others);
}

Settings mixed(const std::string& some, const std::string& others, const std::string& packing) {
  return {fmt::format("data.train=[{{path: some.jsonl, format: jsonl, text: t, weight: {}}}, {{path: "
                      "others.jsonl, format: jsonl, text: t, weight: {}}}]",
                      some, others),
          "data.packing=" + packing,
          "data.eval=[]",
          "train.steps=14",
          "lr_scheduler.name=constant",
          "checkpoint.every_n_steps=3"};
}

}  // namespace

TEST_CASE("sources with weights train alike on every layout and after a resume, packed or not", "[data]") {
  for (const std::string packing : {"true", "samples", "false"}) {
    CAPTURE(packing);
    const Workbench bench;
    write_two_sources(bench);
    const Settings weighted = mixed("0.5", "1.7", packing);
    const Training one = bench.train("one", weighted + Settings{"parallel.pp_size=1"});
    REQUIRE(one.steps.size() == 14);
    CHECK_SAME(one, bench.train("two", weighted));
    require_done(bench.run("again", weighted + Settings{"train.steps=5"}));
    require_done(bench.resume("again", weighted + four_stages));
    CHECK_SAME(one, bench.training("again"));
  }
}

TEST_CASE("weights that change on resume are refused by name, or go on at each source's place", "[data]") {
  const Workbench bench;
  write_two_sources(bench);
  const Settings before = mixed("0.5", "1", "samples"), after = mixed("1", "0", "samples");
  require_done(bench.run("one", before + Settings{"train.steps=4"}));
  check_refused(bench.resume("one", after), 2,
                {"data.weights: is \"1, 0\", but the run in 'one' was started with \"0.5, 1\";",
                 "--allow-change data.weights"});
  // Twice: a resume of the changed run needs no permission, and computes the same.
  for (const std::string run : {"one", "two"}) {
    if (run == "two") require_done(bench.run("two", before + Settings{"train.steps=4"}));
    const Settings steps = run == "one" ? Settings{} : Settings{"train.steps=8"};
    const Outcome changed = bench.run(run, after + steps, {"--resume", "--allow-change", "data.weights"});
    REQUIRE_CODE(changed, 0);
    CHECK(has(changed.errors, "data.weights: 1, 0 from epoch "));
    if (run == "two") require_done(bench.resume("two", after + four_stages));
  }
  CHECK_SAME(bench.training("one"), bench.training("two"));
}

TEST_CASE("data that change on resume are refused by source", "[data]") {
  const Workbench bench;
  write_two_sources(bench);
  const Settings settings = mixed("1", "1", "true");
  require_done(bench.run("one", settings + Settings{"train.steps=4"}));
  bench.write("others.jsonl", "{\"t\": \"other\"}\n");
  check_refused(
      bench.resume("one", settings), 2,
      {"data.contents: data.train[1] ('others.jsonl') has other contents: 1 documents with 7 tokens and 6 "
       "targets; there were 5 with 75 and 70"});
  REQUIRE_CODE(bench.run("one", settings, {"--resume", "--allow-change", "data.contents"}), 0);
  CHECK(bench.steps_done("one") == 14);
}

}  // namespace collie::test
