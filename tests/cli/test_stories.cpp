// A real pretrained model, against known text and against what PyTorch computed
// (tests/golden/make_eval_golden.py).
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/cli/workbench.hpp"
#include "tests/paths.hpp"

namespace collie::test {
namespace {

const std::string stories = shared_data("stories260K");
const std::string shakespeare = shared_data("tinyshakespeare.txt");

bool absent(const std::string& path) {
  if (std::filesystem::exists(path)) return false;
  WARN("skipped: " << path << " is not here");
  return true;
}

}  // namespace

TEST_CASE("a pretrained model tells its known story, on any number of stages", "[golden]") {
  if (absent(stories)) return;
  const std::string known =
      "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, "
      "she saw a "
      "big, red ball. She wanted to play with it, but it was too high.\nLily's mom said,";
  for (const int pp : {1, 2}) {
    const Outcome outcome = run_command({"generate", "--model", stories, "--prompt", "", "--max-new-tokens",
                                         "80", "--set", fmt::format("parallel.pp_size={}", pp)});
    REQUIRE_CODE(outcome, 0);
    INFO(outcome.report());
    CHECK(outcome.output.starts_with(known));
    CHECK(outcome.output.back() == '\n');
    CHECK(outcome.errors.empty());
  }
}

TEST_CASE("what follows a prompt is what followed it in the story", "[golden]") {
  if (absent(stories)) return;
  const Outcome outcome =
      run_command({"generate", "--model", stories, "--prompt",
                   "Once upon a time, there was a little girl named", "--max-new-tokens", "5"});
  REQUIRE_CODE(outcome, 0);
  CHECK(outcome.output == " Lily. She loved\n");  // the leading space belongs to the text
}

TEST_CASE("eval's loss agrees with PyTorch's", "[golden]") {
  if (absent(stories) || absent(shakespeare)) return;
  const auto golden = nlohmann::json::parse(text_of(golden_file("eval_stories260k.json")));
  const std::string text = text_of(shakespeare);
  for (const auto& [name, expected] : golden.items()) {
    INFO(name);
    const Workbench bench;
    size_t at = 0;
    for (const size_t size : expected.at("documents").get<std::vector<size_t>>()) {
      bench.write(fmt::format("eval/{:06}.txt", at), text.substr(at, size));  // in the order of their names
      at += size;
    }
    bench.write(
        "eval.yaml",
        fmt::format("model: {{path: {}}}\ndata: {{eval: [{{path: 'eval/*.txt'}}], sequence_length: {}}}\n",
                    stories, expected.at("sequence_length").get<int>()));
    std::string first;
    for (const int pp : {1, 2}) {
      const Outcome outcome =
          bench.command({"eval", "eval.yaml", "--set", fmt::format("parallel.pp_size={}", pp)});
      REQUIRE_CODE(outcome, 0);
      INFO(outcome.report());
      const auto metrics = nlohmann::json::parse(outcome.output);
      CHECK(metrics.at("tokens") == expected.at("tokens"));
      CHECK(std::abs(metrics.at("loss").get<double>() - expected.at("loss").get<double>()) < 1e-4);
      if (first.empty()) first = outcome.output;
      CHECK(outcome.output == first);
    }
  }
}

}  // namespace collie::test
