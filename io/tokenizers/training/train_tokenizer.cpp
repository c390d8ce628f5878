#include "io/tokenizers/training/train_tokenizer.hpp"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/tokenizers/tokenizer_description.hpp"

namespace collie {

namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> all_special(const TokenizerTraining& training) {
  std::vector<std::string> all = training.special_tokens;
  for (const std::string& token : {training.bos, training.eos})
    if (!token.empty() && std::find(all.begin(), all.end(), token) == all.end()) all.push_back(token);
  return all;
}

void check(const TokenizerTraining& training) {
  if (training.kind != "bpe" && training.kind != "unigram")
    throw UserError("--kind: unknown kind '{}'; known: bpe, unigram", shortened(training.kind));
  if (training.eos.empty()) throw UserError("--eos: it must not be empty, for every document ends with it");
  const auto least = static_cast<int64_t>(256 + all_special(training).size());
  if (training.vocab_size < least)
    throw UserError("--vocab-size: found {}; at least {} are needed: 256 bytes and the special tokens",
                    training.vocab_size, least);
  for (size_t i = 0; i < training.special_tokens.size(); ++i)
    if (std::count(training.special_tokens.begin(), training.special_tokens.end(),
                   training.special_tokens[i]) > 1)
      throw UserError("--special: '{}' is given twice", shortened(training.special_tokens[i]));
  for (const std::string& token : all_special(training))
    if (token.empty()) throw UserError("--special: a special token must not be empty");
}

Json added_tokens(const std::vector<std::string>& tokens) {
  Json list = Json::array();
  for (size_t id = 0; id < tokens.size(); ++id)
    list.push_back(added_token(tokens[id], static_cast<int64_t>(id)));
  return list;
}

Json config_of(const TokenizerTraining& training, const std::string& unknown) {
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"eos_token", training.eos}};
  if (!training.bos.empty()) config["bos_token"] = training.bos;
  if (!unknown.empty()) config["unk_token"] = unknown;
  config["clean_up_tokenization_spaces"] = false;
  return config;
}

TokenizerFiles files_of(const Json& tokenizer, const Json& config) {
  return {{"tokenizer.json", tokenizer.dump(1) + "\n"}, {"tokenizer_config.json", config.dump(1) + "\n"}};
}

TokenizerFiles train_bpe(TokenizerTraining training, const NextText& next) {
  training.special_tokens = all_special(training);
  const LearntMerges learnt = learn_merges(training, llama3_pattern, next);
  if (static_cast<int64_t>(learnt.vocabulary.size()) < training.vocab_size)
    throw UserError(
        "--vocab-size: the text gives {} tokens of the {}; give more text, a smaller size or a smaller "
        "--min-frequency (now {})",
        learnt.vocabulary.size(), training.vocab_size, training.min_frequency);
  Json vocabulary = Json::object(), merges = Json::array();
  for (size_t id = 0; id < learnt.vocabulary.size(); ++id) vocabulary[learnt.vocabulary[id]] = id;
  for (const auto& [left, right] : learnt.merges) merges.push_back(Json::array({left, right}));
  Json post = around_text(training.bos, "", vocabulary);
  return files_of(
      describe_tokenizer(added_tokens(training.special_tokens), Json(),
                         split_and_byte_level(llama3_pattern, false), std::move(post), byte_level(true, true),
                         bpe_model(std::move(vocabulary), std::move(merges), false)),
      config_of(training, ""));
}

// Hands libsentencepiece the text line by line. It drops lines that are longer than it is told.
class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const NextText& next) : next_(next) { advance(); }
  bool done() const override { return done_; }
  void Next() override { advance(); }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void advance() {
    do {
      if (rest_.empty() && !next_(rest_)) {
        done_ = true;
        return;
      }
      const size_t end = std::min(rest_.find('\n'), rest_.size());
      line_ = rest_.substr(0, std::min(end, longest_line));
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
    } while (line_.find_first_not_of(" \t\r") == std::string::npos);
  }

  static constexpr size_t longest_line = 4000;  // bytes; libsentencepiece's own limit is 4192
  const NextText& next_;
  std::string_view rest_;
  std::string line_;
  bool done_ = false;
};

std::string train_sentencepiece(const TokenizerTraining& training, const std::vector<std::string>& special,
                                const NextText& next) {
  std::string symbols;  // comma-separated; all but BOS and EOS
  for (const std::string& token : special)
    if (token != training.bos && token != training.eos) symbols += (symbols.empty() ? "" : ",") + token;
  Lines lines(next);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      {{"model_type", "unigram"},
       {"vocab_size", std::to_string(training.vocab_size)},
       {"hard_vocab_limit", "true"},
       {"byte_fallback", "true"},
       {"character_coverage", "0.9995"},
       {"normalization_rule_name", "identity"},
       {"remove_extra_whitespaces", "false"},
       {"num_threads", "4"},  // the sums' order depends on it, so it must not depend on the machine
       {"unk_id", "0"},
       {"bos_id", training.bos.empty() ? "-1" : "1"},
       {"eos_id", training.bos.empty() ? "1" : "2"},
       {"bos_piece", training.bos.empty() ? "<s>" : training.bos},
       {"eos_piece", training.eos},
       {"control_symbols", symbols},
       {"minloglevel", "3"}},
      &lines, &model);
  if (!status.ok())
    throw UserError("--vocab-size: libsentencepiece cannot make {} tokens of the text: {}",
                    training.vocab_size, shortened(status.message(), 300));
  return model;
}

TokenizerFiles train_unigram(const TokenizerTraining& training, const NextText& next) {
  if (training.bos == training.eos)
    throw UserError("--bos: a unigram tokenizer cannot have one token, '{}', as BOS and EOS",
                    shortened(training.bos));
  for (const std::string& token : all_special(training))  // libsentencepiece takes them as a list with commas
    if (token.find_first_of(",\"") != std::string::npos)
      throw UserError("--special: '{}' has a comma or a quote, which special tokens of unigram must not have",
                      shortened(token));
  sentencepiece::SentencePieceProcessor model;
  const std::string bytes = train_sentencepiece(training, all_special(training), next);
  COLLIE_ASSERT(model.LoadFromSerializedProto(bytes).ok(), "libsentencepiece cannot read what it made");
  Json vocabulary = Json::array(), ids = Json::object();
  std::vector<std::string> special;
  for (int id = 0; id < model.GetPieceSize(); ++id) {
    vocabulary.push_back(Json::array({model.IdToPiece(id), model.GetScore(id)}));
    ids[model.IdToPiece(id)] = id;
    if (model.IsControl(id) || model.IsUnknown(id)) special.push_back(model.IdToPiece(id));
  }
  Json added = Json::array();
  for (const std::string& token : special) added.push_back(added_token(token, ids[token]));
  // The visible space is put in front of every text, also of one that begins with a space. (Metaspace's own
  // prefix is left out there, so that such a text would lose it.)
  constexpr const char* mark = "\xE2\x96\x81";
  const Json normalizer = {{"type", "Prepend"}, {"prepend", mark}};
  const Json metaspace = {
      {"type", "Metaspace"}, {"replacement", mark}, {"prepend_scheme", "never"}, {"split", true}};
  const Json decoder = {
      {"type", "Sequence"},
      {"decoders", Json::array({{{"type", "Replace"}, {"pattern", {{"String", mark}}}, {"content", " "}},
                                {{"type", "ByteFallback"}},
                                {{"type", "Fuse"}},
                                {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}})}};
  const Json unigram = {
      {"type", "Unigram"}, {"unk_id", 0}, {"vocab", std::move(vocabulary)}, {"byte_fallback", true}};
  return files_of(describe_tokenizer(std::move(added), normalizer, metaspace,
                                     around_text(training.bos, "", ids), decoder, unigram),
                  config_of(training, model.IdToPiece(0)));
}

}  // namespace

TokenizerFiles train_tokenizer(const TokenizerTraining& training, const NextText& next) {
  check(training);
  return training.kind == "bpe" ? train_bpe(training, next) : train_unigram(training, next);
}

}  // namespace collie
