#include "io/tokenizers/settings.hpp"

#include <algorithm>
#include <charconv>

#include "base/quote.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"

namespace collie {

TokenizerFiles read_settings_files(const std::filesystem::path& folder) {
  TokenizerFiles files;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                           "generation_config.json", "config.json"})
    if (const std::string path = (folder / name).string(); may_be_there(path))
      files[name] = read_text_file(path);
  return files;
}

nlohmann::json parsed_file(const TokenizerFiles& files, const std::string& name,
                           const std::filesystem::path& folder) {
  const auto file = files.find(name);
  if (file == files.end()) return nlohmann::json::object();
  return parse_json_object(file->second, (folder / name).string());
}

namespace {

std::optional<int32_t> find_named(const JsonPlace& settings, const std::string& key, const FindToken& find,
                                  int64_t vocab_size) {
  if (const auto token = settings.find(key + "_token")) {
    const JsonPlace content = token->value().is_object() ? (*token)["content"] : *token;
    if (const auto id = find(content.text())) return id;
    content.refuse(fmt::format("'{}' is not in the vocabulary of the tokenizer", shortened(content.text())));
  }
  if (const auto token = settings.find(key + "_token_id")) {
    const JsonPlace id = token->value().is_array() && !token->value().empty() ? (*token)[size_t{0}] : *token;
    if (id.integer() >= 0 && id.integer() < vocab_size) return static_cast<int32_t>(id.integer());
    id.refuse(fmt::format("id {} is not in the vocabulary of the tokenizer, which has {}", id.integer(),
                          vocab_size));
  }
  return std::nullopt;
}

int64_t read_key_as_id(const JsonPlace& list, const std::string& key) {
  int64_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size())
    list.refuse(fmt::format("key '{}' must be a token's id", shortened(key)));
  return id;
}

}  // namespace

SpecialIds read_special_ids(const TokenizerFiles& files, const std::filesystem::path& folder,
                            const FindToken& find, int64_t vocab_size) {
  SpecialIds ids;
  for (const char* name :
       {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json"}) {
    const nlohmann::json parsed = parsed_file(files, name, folder);
    const JsonPlace settings(parsed, (folder / name).string());
    if (!ids.bos) ids.bos = find_named(settings, "bos", find, vocab_size);
    if (!ids.eos) ids.eos = find_named(settings, "eos", find, vocab_size);
  }
  return ids;
}

std::vector<AddedToken> read_added_tokens_beside(const TokenizerFiles& files,
                                                 const std::filesystem::path& folder) {
  std::vector<AddedToken> tokens;
  const nlohmann::json config = parsed_file(files, "tokenizer_config.json", folder);
  const JsonPlace settings(config, (folder / "tokenizer_config.json").string());
  if (const auto decoder = settings.find("added_tokens_decoder")) {
    if (!decoder->value().is_object()) decoder->refuse("it must be an object from ids to tokens");
    for (const auto& [key, value] : decoder->value().items())
      tokens.push_back(read_added_token(decoder->inside(value, key), read_key_as_id(*decoder, key)));
  }
  const nlohmann::json older = parsed_file(files, "added_tokens.json", folder);
  const JsonPlace list(older, (folder / "added_tokens.json").string());
  for (const auto& [content, id] : older.items()) {
    const auto same = [&, text = content](const AddedToken& token) { return token.content == text; };
    if (std::any_of(tokens.begin(), tokens.end(), same)) continue;
    AddedToken token;
    token.id = checked_token_id(list.inside(id, content));
    token.content = content;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace collie
