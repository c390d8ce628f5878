// What final/ has beside weights and config.json.
#include "plan/companion_files.hpp"

#include "base/error.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace collie;
using collie::test::TemporaryFolder;
using nlohmann::json;

namespace {

Config starting_from(const TemporaryFolder& model) {
  Config config;
  config.model.path = model.path().string();
  return config;
}

std::vector<std::string> names_of(const std::map<std::string, std::string>& files) {
  std::vector<std::string> names;
  for (const auto& [name, contents] : files) names.push_back(name);
  return names;
}

}  // namespace

TEST_CASE("final/ keeps what belongs to a model's folder, and nothing else", "[plan]") {
  const TemporaryFolder model, tokenizer;
  for (const char* name : {"chat_template.jinja", "generation_config.json", "special_tokens_map.json",
                           "tokenizer.model", "tokenizer_of_others.json", "qwen.tiktoken", "modeling_own.py",
                           "LICENSE", "LICENSE.txt", "config.json", "model.safetensors",
                           "model.safetensors.index.json", "train.jsonl", ".collie", "notes.txt"})
    model.write(name, name);
  const auto files = kept_files(starting_from(model));
  CHECK(names_of(files) == std::vector<std::string>{"LICENSE", "LICENSE.txt", "chat_template.jinja",
                                                    "generation_config.json", "modeling_own.py",
                                                    "qwen.tiktoken", "special_tokens_map.json",
                                                    "tokenizer.model", "tokenizer_of_others.json"});
  CHECK(files.at("LICENSE") == "LICENSE");

  // Another tokenizer's files come from its own folder, the byte tokenizer has none.
  tokenizer.write("tokenizer.json", "{}");
  Config config = starting_from(model);
  config.tokenizer.path = tokenizer.path().string();
  CHECK(names_of(kept_files(config)) == std::vector<std::string>{"LICENSE", "LICENSE.txt",
                                                                 "generation_config.json", "modeling_own.py",
                                                                 "tokenizer.json"});
  config.tokenizer.kind = "byte";
  CHECK(kept_files(config).count("tokenizer.json") == 0);
  // A model from scratch has nothing of the folder that its shape came from.
  config.model.from_scratch = true;
  CHECK(kept_files(config).empty());
}

TEST_CASE("final/ keeps the additional chat templates, and only templates of that folder", "[plan]") {
  const TemporaryFolder model;
  std::filesystem::create_directory(model / "additional_chat_templates");
  for (const char* name : {"chat_template.jinja", "additional_chat_templates/tool_use.jinja",
                           "additional_chat_templates/notes.txt", "additional_chat_templates/.hidden.jinja"})
    model.write(name, name);
  CHECK(names_of(kept_files(starting_from(model))) ==
        std::vector<std::string>{"additional_chat_templates/tool_use.jinja", "chat_template.jinja"});
}

TEST_CASE("final/ has the chat template that was trained with", "[plan]") {
  const TemporaryFolder model;
  model.write("chat_template.jinja", "the model's");
  Config config = starting_from(model);
  config.data.train.resize(2);
  for (DataSource& source : config.data.train) {
    source.format = "chat";
    source.chat_template = model.write("own.jinja", "its own").string();
  }
  CHECK(kept_files(config).at("chat_template.jinja") == "its own");
  config.data.train[1].chat_template = model.write("other.jinja", "another").string();
  CHECK(kept_files(config).at("chat_template.jinja") == "the model's");
}

TEST_CASE("a model card keeps its fields and says what became of the model", "[plan]") {
  const TemporaryFolder model;
  model.write("README.md", "---\nlicense: apache-2.0\n---\n# A model\n");
  const std::string card = kept_files(starting_from(model)).at("README.md");
  CHECK(card.rfind("---\nlicense: apache-2.0\n---\n", 0) == 0);
  CHECK(card.find("The weights were trained further") != std::string::npos);
  CHECK(card.substr(card.size() - 10) == "# A model\n");
}

TEST_CASE("any token that a file calls EOS ends a text", "[plan]") {
  const TemporaryFolder model;
  model.write("generation_config.json", R"({"eos_token_id": [7, 9]})");
  model.write("config.json", R"({"eos_token_id": 9})");
  CHECK(stop_ids(starting_from(model), *byte_tokenizer()) == std::vector<int32_t>{7, 9, 257});
  CHECK(stop_ids(Config{}, *byte_tokenizer()) == std::vector<int32_t>{257});
  model.write("generation_config.json", R"({"eos_token_id": ["</s>"]})");
  CHECK_THROWS_WITH(stop_ids(starting_from(model), *byte_tokenizer()),
                    test::contains("generation_config.json: eos_token_id: found \"</s>\"; a token id"));
}

TEST_CASE("config.json of final/ keeps the list of EOS ids and the pad token", "[plan]") {
  const json source = {{"eos_token_id", {2, 13}}, {"pad_token_id", 0}, {"bos_token_id", nullptr}};
  json model = json::object();
  set_special_ids(source, true, *byte_tokenizer(), model);
  CHECK(model == json{{"eos_token_id", {2, 13}}, {"pad_token_id", 0}, {"bos_token_id", 256}});
  model = json::object();
  set_special_ids(source, false, *byte_tokenizer(), model);  // the ids are another tokenizer's
  CHECK(model == json{{"eos_token_id", 257}, {"bos_token_id", 256}});
}
