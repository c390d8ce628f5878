#include "plan/companion_files.hpp"

#include <algorithm>
#include <filesystem>

#include "base/error.hpp"
#include "base/log.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

constexpr uintmax_t most_bytes = uintmax_t{64} << 20;

bool has_extension(const fs::path& file, std::initializer_list<const char*> extensions) {
  const std::string own = file.extension().string();
  return std::any_of(extensions.begin(), extensions.end(), [&](const char* each) { return own == each; });
}

bool begins_with(const std::string& name, std::initializer_list<const char*> beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const char* each) { return name.rfind(each, 0) == 0; });
}

bool belongs_to_model(const fs::path& file) {
  return file.filename() == "generation_config.json" || has_extension(file, {".py"}) ||
         begins_with(file.filename().string(), {"LICENSE", "LICENCE", "NOTICE", "USE_POLICY"});
}

bool belongs_to_tokenizer(const fs::path& file) {
  const std::string name = file.filename().string();
  if (name == "config.json" || name == "generation_config.json" ||
      name.find(".index.json") != std::string::npos)
    return false;
  return has_extension(file, {".jinja", ".tiktoken", ".model"}) ||
         begins_with(name, {"tokenizer", "special_tokens_map", "added_tokens", "vocab", "merges",
                            "chat_template", "tekken", "spiece", "sentencepiece"});
}

bool is_template(const fs::path& file) {
  return has_extension(file, {".jinja"});
}

// `within` stands before the names.
template <class Belongs>
void keep(const fs::path& folder, const Belongs& belongs, std::map<std::string, std::string>& files,
          const std::string& within = "") {
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    if (name.front() == '.' || !entry.is_regular_file(none) || !belongs(entry.path())) continue;
    if (entry.file_size(none) <= most_bytes) files[within + name] = read_text_file(entry.path().string());
  }
}

// A model card is text behind fields in YAML between two lines "---".
std::string card_of_trained(const std::string& card, const std::string& source) {
  const std::string line = "---\n";
  std::string fields, text = card;
  if (card.rfind(line, 0) == 0)
    if (const size_t end = card.find("\n" + line, line.size()); end != std::string::npos) {
      fields = card.substr(0, end + 1 + line.size());
      text = card.substr(end + 1 + line.size());
    }
  return fields + "\nThe weights were trained further, from '" + source +
         "', by collie-engine. What follows is the card of that model.\n\n" + text;
}

// The template file that the chat sources of training name, if they agree.
std::string own_chat_template(const Config& config) {
  std::string file;
  for (const DataSource& source : config.data.train) {
    if (source.format != "chat" || source.chat_template == file) continue;
    if (!file.empty()) {
      log::warn(
          "data.train: its sources name several chat templates ('{}' and '{}' among them), so final/ has "
          "that of "
          "the tokenizer's folder, if any",
          file, source.chat_template);
      return "";
    }
    file = source.chat_template;
  }
  return file;
}

nlohmann::json object_in(const std::string& folder, const char* name) {
  const std::string file = (fs::path(folder) / name).string();
  return folder.empty() || !may_be_there(file) ? nlohmann::json::object()
                                               : parse_json_object(read_text_file(file), file);
}

void add_ids(const nlohmann::json& object, const std::string& file, std::vector<int32_t>& ids) {
  const auto found = object.find("eos_token_id");
  if (found == object.end() || found->is_null()) return;
  for (const nlohmann::json& id : found->is_array() ? *found : nlohmann::json::array({*found})) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX)
      throw UserError("{}: eos_token_id: found {}; a token id, or a list of them, is wanted", file,
                      in_short(id));
    if (std::find(ids.begin(), ids.end(), id.get<int32_t>()) == ids.end()) ids.push_back(id.get<int32_t>());
  }
}

}  // namespace

std::string tokenizer_folder(const Config& config) {
  return config.tokenizer.path.empty() ? config.model.path : config.tokenizer.path;
}

std::map<std::string, std::string> kept_files(const Config& config) {
  std::map<std::string, std::string> files;
  if (config.tokenizer.kind != "byte") {
    const fs::path folder = tokenizer_folder(config);
    keep(folder, belongs_to_tokenizer, files);
    keep(folder / "additional_chat_templates", is_template, files, "additional_chat_templates/");
  }
  if (const std::string own = own_chat_template(config); !own.empty())
    files["chat_template.jinja"] = read_text_file(own);
  const fs::path folder = config.model.path;
  if (config.model.path.empty() || config.model.from_scratch) return files;
  keep(folder, belongs_to_model, files);
  if (const auto card = folder / "README.md"; may_be_there(card.string()))
    files["README.md"] = card_of_trained(read_text_file(card.string()), folder.filename().string());
  return files;
}

std::vector<int32_t> stop_ids(const Config& config, const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  for (const char* name : {"generation_config.json", "config.json"})
    add_ids(object_in(config.model.path, name), (fs::path(config.model.path) / name).string(), ids);
  if (const auto eos = tokenizer.eos(); eos && std::find(ids.begin(), ids.end(), *eos) == ids.end())
    ids.push_back(*eos);
  return ids;
}

void set_special_ids(const nlohmann::json& source, bool own_tokenizer, const Tokenizer& tokenizer,
                     nlohmann::json& model_json) {
  const auto set = [&](const char* key, std::optional<int32_t> of_tokenizer) {
    const bool said = own_tokenizer && source.contains(key) && !source.at(key).is_null();
    if (said)
      model_json[key] = source.at(key);
    else if (of_tokenizer)
      model_json[key] = *of_tokenizer;
  };
  set("bos_token_id", tokenizer.bos());
  set("eos_token_id", tokenizer.eos());
  set("pad_token_id", std::nullopt);
}

}  // namespace collie
