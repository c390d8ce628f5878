// What the files beside a tokenizer say about it.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "io/tokenizers/added_tokens.hpp"
#include "io/tokenizers/json_place.hpp"

namespace collie {

// The part of a tokenizer's folder that is kept: file name to contents.
using TokenizerFiles = std::map<std::string, std::string>;

// Reads the files of `folder` that can say something: tokenizer_config.json, special_tokens_map.json,
// added_tokens.json, generation_config.json and config.json. The first two are saved with a tokenizer.
TokenizerFiles read_settings_files(const std::filesystem::path& folder);

// A parsed JSON object of `files`; an empty one if the file is not there. `folder` is for messages.
nlohmann::json parsed_file(const TokenizerFiles& files, const std::string& name,
                           const std::filesystem::path& folder);

// BOS and EOS: tokenizer_config.json says them, else special_tokens_map.json, else generation_config.json,
// else config.json. A token is named by its content ("<s>", or an object with "content"), or by its id (or by
// a list of ids, of which the first counts).
struct SpecialIds {
  std::optional<int32_t> bos, eos;
};
using FindToken = std::function<std::optional<int32_t>(const std::string&)>;
SpecialIds read_special_ids(const TokenizerFiles& files, const std::filesystem::path& folder,
                            const FindToken& find, int64_t vocab_size);

// The tokens of tokenizer_config.json's "added_tokens_decoder" and of added_tokens.json.
std::vector<AddedToken> read_added_tokens_beside(const TokenizerFiles& files,
                                                 const std::filesystem::path& folder);

}  // namespace collie
