// The chat templates and special tokens of a model's folder.
#include <algorithm>

#include "base/error.hpp"
#include "io/chat_template.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"

namespace collie {

namespace {

using nlohmann::json;
using Templates = std::map<std::string, jinja::Template>;
using Tokens = std::map<std::string, std::string>;

json read_object(const std::filesystem::path& path) {
  if (!may_be_there(path.string())) return json::object();
  return parse_json_object(read_text_file(path.string()), path.string());
}

void add_file(Templates& templates, const std::string& name, const std::filesystem::path& path) {
  templates.insert_or_assign(name, jinja::Template(read_text_file(path.string()), path.string()));
}

Templates template_files(const std::filesystem::path& folder) {
  Templates templates;
  if (const auto path = folder / "chat_template.jinja"; may_be_there(path.string()))
    add_file(templates, "default", path);
  const auto more = folder / "additional_chat_templates";
  if (!std::filesystem::is_directory(more)) return templates;
  for (const auto& entry : std::filesystem::directory_iterator(more))
    if (entry.path().extension() == ".jinja") add_file(templates, entry.path().stem().string(), entry.path());
  return templates;
}

[[noreturn]] void refuse_entry(const std::string& file, const json& found) {
  throw UserError(
      "{}: chat_template is {}; it must be a text, or a list of objects with the texts 'name' and 'template'",
      file, in_short(found));
}

// The value of "chat_template" in a JSON file.
Templates listed_templates(const json& object, const std::string& file) {
  Templates templates;
  const auto found = object.find("chat_template");
  if (found == object.end() || found->is_null()) return templates;
  const auto add = [&](const std::string& name, const json& source) {
    if (!source.is_string()) refuse_entry(file, *found);
    const std::string place =
        name == "default" ? file + ": chat_template" : fmt::format("{}: chat_template '{}'", file, name);
    templates.insert_or_assign(name, jinja::Template(source.get<std::string>(), place));
  };
  if (found->is_string()) {
    add("default", *found);
  } else if (found->is_array()) {
    for (const json& entry : *found) {
      if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
          !entry.contains("template"))
        refuse_entry(file, *found);
      add(entry["name"].get<std::string>(), entry["template"]);
    }
  } else {
    refuse_entry(file, *found);
  }
  return templates;
}

// The text of a token that is written as a text or as {"content": TEXT, ...}.
std::optional<std::string> token_text(const json& token) {
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string())
    return token["content"].get<std::string>();
  return std::nullopt;
}

void add_tokens(const json& object, Tokens& tokens) {
  for (const auto& [key, value] : object.items()) {
    const bool is_token = key.size() > 6 && key.compare(key.size() - 6, 6, "_token") == 0;
    if (const auto text = token_text(value); text && is_token) tokens[key] = *text;
    if (key == "extra_special_tokens" && value.is_object())
      for (const auto& [name, extra] : value.items())
        if (const auto text = token_text(extra)) tokens[name] = *text;
  }
}

// Adds the texts of generation_config.json's EOS ids.
void add_end_tokens(const json& generation, const json& tokenizer, ChatTemplate& chat) {
  const auto ids = generation.find("eos_token_id");
  const auto added = tokenizer.find("added_tokens_decoder");
  if (ids == generation.end() || added == tokenizer.end() || !added->is_object()) return;
  for (const json& id : ids->is_array() ? *ids : json::array({*ids})) {
    const auto token = id.is_number_integer() ? added->find(id.dump()) : added->end();
    if (token == added->end()) continue;
    if (const auto text = token_text(*token)) chat.add_end_token(*text);
  }
}

}  // namespace

namespace {

// The template with the folder's special tokens.
ChatTemplate with_tokens(Templates templates, const std::filesystem::path& folder, const json& config) {
  Tokens tokens;
  add_tokens(config, tokens);
  if (!config.contains("added_tokens_decoder"))
    add_tokens(read_object(folder / "special_tokens_map.json"), tokens);
  ChatTemplate chat(std::move(templates), std::move(tokens));
  add_end_tokens(read_object(folder / "generation_config.json"), config, chat);
  return chat;
}

}  // namespace

std::optional<ChatTemplate> ChatTemplate::load(const std::filesystem::path& folder) {
  const auto config_file = folder / "tokenizer_config.json", older_file = folder / "chat_template.json";
  const json config = read_object(config_file);
  Templates templates = template_files(folder);
  if (templates.empty()) templates = listed_templates(config, config_file.string());
  if (templates.empty()) templates = listed_templates(read_object(older_file), older_file.string());
  if (templates.empty()) return std::nullopt;
  return with_tokens(std::move(templates), folder, config);
}

ChatTemplate ChatTemplate::from_file(const std::filesystem::path& file, const std::filesystem::path& folder) {
  Templates templates;
  add_file(templates, "default", file);
  return with_tokens(std::move(templates), folder, read_object(folder / "tokenizer_config.json"));
}

}  // namespace collie
