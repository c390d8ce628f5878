#include "io/tokenizers/tokenizer_description.hpp"

namespace collie {

using Json = nlohmann::ordered_json;

Json byte_level(bool prefix, bool regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"trim_offsets", true}, {"use_regex", regex}};
}

Json split_and_byte_level(const std::string& pattern, bool prefix) {
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level(prefix, false)})}};
}

Json bpe_model(Json vocabulary, Json merges, bool ignore_merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", ignore_merges},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(merges)}};
}

Json added_token(const std::string& content, int64_t id) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

Json around_text(const std::string& before, const std::string& after, const Json& vocabulary) {
  Json tokens = Json::object();
  const auto put = [&](const std::string& content, int type, Json& list) {
    if (content.empty() || !vocabulary.contains(content)) return;
    list.push_back({{"SpecialToken", {{"id", content}, {"type_id", type}}}});
    tokens[content] = {
        {"id", content}, {"ids", Json::array({vocabulary[content]})}, {"tokens", Json::array({content})}};
  };
  const auto put_text = [&](const char* name, int type, Json& list) {
    put(before, type, list);
    list.push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
    put(after, type, list);
  };
  Json single = Json::array();
  put_text("A", 0, single);
  Json pair = single;
  put_text("B", 1, pair);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

Json describe_tokenizer(Json added, Json normalizer, Json pre_tokenizer, Json post, Json decoder,
                        Json model) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added)},
          {"normalizer", std::move(normalizer)},
          {"pre_tokenizer", std::move(pre_tokenizer)},
          {"post_processor", std::move(post)},
          {"decoder", std::move(decoder)},
          {"model", std::move(model)}};
}

}  // namespace collie
