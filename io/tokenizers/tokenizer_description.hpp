// Parts of a tokenizer.json that this engine writes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace collie {

// The regular expressions by which Llama 3 and Qwen2 cut text into words.
inline constexpr const char* llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr const char* qwen_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

nlohmann::ordered_json byte_level(bool prefix, bool regex);
nlohmann::ordered_json split_and_byte_level(const std::string& pattern, bool prefix);
nlohmann::ordered_json bpe_model(nlohmann::ordered_json vocabulary, nlohmann::ordered_json merges,
                                 bool ignore_merges);

// A special token, which is found in the text as it is spelled.
nlohmann::ordered_json added_token(const std::string& content, int64_t id);

// A post-processor that puts `before` and `after` around a text. Empty ones, and those that `vocabulary` (an
// object from tokens to ids) lacks, are left out.
nlohmann::ordered_json around_text(const std::string& before, const std::string& after,
                                   const nlohmann::ordered_json& vocabulary);

// The whole of a tokenizer.json.
nlohmann::ordered_json describe_tokenizer(nlohmann::ordered_json added, nlohmann::ordered_json normalizer,
                                          nlohmann::ordered_json pre_tokenizer, nlohmann::ordered_json post,
                                          nlohmann::ordered_json decoder, nlohmann::ordered_json model);

}  // namespace collie
