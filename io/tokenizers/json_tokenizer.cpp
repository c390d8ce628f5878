#include "io/tokenizers/json_tokenizer.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"
#include "base/sha256.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/utf8.hpp"

namespace collie {

JsonTokenizer::JsonTokenizer(TokenizerFiles files, const std::filesystem::path& folder)
    : files_(std::move(files)) {
  const std::string file = (folder / "tokenizer.json").string();
  const nlohmann::json parsed = parse_json_object(files_.at("tokenizer.json"), file);
  const JsonPlace top(parsed, file);
  model_ = make_token_model(top["model"]);
  vocab_size_ = model_->vocabulary().size();
  if (const auto part = top.find("normalizer")) normalizer_ = make_normalizer(*part);
  if (const auto part = top.find("pre_tokenizer")) pre_tokenizer_ = make_pre_tokenizer(*part);
  if (const auto part = top.find("decoder")) decoder_ = make_decoder(*part);
  if (const auto list = top.find("added_tokens")) read_added(*list);
  read_added_beside(folder);
  if (const auto part = top.find("post_processor")) around_ = read_post_processor(*part, vocab_size_);
  const SpecialIds ids = read_special_ids(
      files_, folder, [this](const std::string& token) { return find(token); }, vocab_size_);
  bos_ = ids.bos;
  eos_ = ids.eos;
  warn_of_contradictions(folder);
}

JsonTokenizer::~JsonTokenizer() = default;

void JsonTokenizer::read_added(const JsonPlace& list) {
  const auto tokens = read_added_tokens(list);
  for (size_t i = 0; i < tokens.size(); ++i) add(tokens[i], list[i]);
}

// transformers adds what tokenizer_config.json lists and tokenizer.json lacks.
void JsonTokenizer::read_added_beside(const std::filesystem::path& folder) {
  const nlohmann::json none = nlohmann::json::object();
  const JsonPlace place(none, (folder / "tokenizer_config.json").string(), "added_tokens_decoder");
  for (const AddedToken& token : read_added_tokens_beside(files_, folder))
    if (!find(token.content)) add(token, place);
}

void JsonTokenizer::add(const AddedToken& token, const JsonPlace& place) {
  const Vocabulary& vocabulary = model_->vocabulary();
  const auto in_model = vocabulary.find(token.content);
  if (in_model && *in_model != token.id)
    place.refuse(fmt::format("'{}' has id {}, but id {} in model.vocab; they must agree",
                             shortened(token.content), token.id, *in_model));
  if (const std::string* other = vocabulary.token(token.id); other && *other != token.content)
    place.refuse(fmt::format("'{}' has id {}, which is that of '{}' in model.vocab; each token needs its own",
                             shortened(token.content), token.id, shortened(*other)));
  std::string pattern = token.content;
  if (token.normalized && normalizer_) {
    AlignedText text(pattern, 0, false);
    normalizer_->normalize(text);
    pattern = text.text();
  }
  const auto [entry, added] = added_.emplace(token.id, Added{token.content, pattern, token.special});
  if (!added)
    place.refuse(fmt::format("'{}' has id {}, which is that of '{}'; each token needs its own",
                             shortened(token.content), token.id, shortened(entry->second.content)));
  vocab_size_ = std::max<int64_t>(vocab_size_, int64_t{token.id} + 1);
  (token.normalized ? in_normalized_text_ : in_raw_text_).add(token, pattern);
}

void JsonTokenizer::warn_of_contradictions(const std::filesystem::path& folder) const {
  const nlohmann::json config = parsed_file(files_, "tokenizer_config.json", folder);
  const JsonPlace settings(config, (folder / "tokenizer_config.json").string());
  const auto check = [&](const char* key, bool adds) {
    const auto says = settings.find(key);
    if (says && says->flag() != adds)
      log::warn(
          "{}: {} is {}, but tokenizer.json's post_processor {} it; the latter counts, as in transformers 5",
          settings.file(), key, says->flag(), adds ? "adds" : "does not add");
  };
  const auto has = [](const std::vector<int32_t>& ids, std::optional<int32_t> id) {
    return id && std::find(ids.begin(), ids.end(), *id) != ids.end();
  };
  check("add_bos_token", has(around_.before, bos_));
  check("add_eos_token", has(around_.after, eos_));
}

std::optional<int32_t> JsonTokenizer::find(const std::string& token) const {
  if (const auto id = model_->vocabulary().find(token)) return id;
  for (const auto& [id, added] : added_)
    if (added.content == token) return id;
  return std::nullopt;
}

struct JsonTokenizer::Workspace {
  std::unique_ptr<TokenModel::Workspace> model;
  WordCache cache;
  std::vector<WordToken> tokens;
  std::string characters;         // of a word whose bytes are characters
  std::vector<uint32_t> byte_of;  // [characters.size()] the byte that a stand-in comes from
};

std::unique_ptr<JsonTokenizer::Workspace> JsonTokenizer::borrow() const {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    auto workspace = std::make_unique<Workspace>();
    workspace->model = model_->make_workspace();
    return workspace;
  }
  auto workspace = std::move(idle_.back());
  idle_.pop_back();
  return workspace;
}

void JsonTokenizer::give_back(std::unique_ptr<Workspace> workspace) const {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(workspace));
}

// One call of encode().
class JsonTokenizer::Encoder {
 public:
  Encoder(const JsonTokenizer& tokenizer, bool with_starts)
      : tokenizer_(tokenizer), with_starts_(with_starts), space_(tokenizer.borrow()) {
    const auto& cuts = tokenizer.pre_tokenizer_;
    aligned_ = with_starts || (cuts && cuts->needs_origins());
  }
  ~Encoder() { tokenizer_.give_back(std::move(space_)); }

  Encoding run(std::string_view text) {
    original_ = text;
    for (const auto& part : tokenizer_.in_raw_text_.split(text))
      if (part.id >= 0)
        append(part.id, part.begin);
      else
        encode_part(AlignedText(text.substr(part.begin, part.end - part.begin), part.begin, aligned_));
    return std::move(result_);
  }

 private:
  void append(int32_t id, size_t start) {
    result_.ids.push_back(id);
    if (!with_starts_) return;
    while (start > 0 && start < original_.size() && is_continuation(original_[start])) --start;
    result_.starts.push_back(start);
  }

  static bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0u) == 0x80u; }

  void encode_part(AlignedText text) {
    if (tokenizer_.normalizer_) tokenizer_.normalizer_->normalize(text);
    const auto parts = tokenizer_.in_normalized_text_.split(text.text());
    for (const auto& part : parts)
      if (part.id >= 0)
        append(part.id, with_starts_ ? text.origin(part.begin) : 0);
      else
        encode_pieces(parts.size() == 1 ? std::move(text) : text.part({part.begin, part.end}));
  }

  void encode_pieces(AlignedText text) {
    TextPieces pieces{std::move(text), {}, false};
    pieces.pieces.push_back({0, pieces.text.text().size()});
    if (tokenizer_.pre_tokenizer_) tokenizer_.pre_tokenizer_->split(pieces);
    for (const auto& piece : pieces.pieces) {
      space_->tokens.clear();
      encode_word(pieces.text_of(piece), pieces.bytes_are_characters);
      for (const auto& [id, begin] : space_->tokens)
        append(id, with_starts_ ? pieces.text.origin(piece.begin + begin) : 0);
    }
  }

  // Sets space_->tokens.
  void encode_word(std::string_view word, bool as_characters) {
    if (word.size() > UINT32_MAX / 2)
      throw UserError("{} bytes of text that the tokenizer takes as one word; at most {} are supported",
                      word.size(), UINT32_MAX / 2);
    if (space_->cache.find(word, space_->tokens)) return;
    if (as_characters)
      encode_characters(word);
    else
      tokenizer_.model_->encode(word, space_->model.get(), space_->tokens);
    space_->cache.add(word, space_->tokens);
  }

  void encode_characters(std::string_view word) {
    auto& [model, cache, tokens, characters, byte_of] = *space_;
    characters.clear();
    byte_of.clear();
    for (size_t i = 0; i < word.size(); ++i) {
      append_byte_characters(characters, word.substr(i, 1));
      byte_of.resize(characters.size(), static_cast<uint32_t>(i));
    }
    tokenizer_.model_->encode(characters, model.get(), tokens);
    for (auto& token : tokens) token.begin = byte_of[token.begin];
  }

  const JsonTokenizer& tokenizer_;
  std::string_view original_;
  bool with_starts_, aligned_ = false;
  std::unique_ptr<Workspace> space_;
  Encoding result_;
};

namespace {

void check_utf8(std::string_view text) {
  if (const auto offset = first_invalid_utf8(text))
    throw UserError("the text to encode is not valid UTF-8 at byte {}", *offset);
}

}  // namespace

Encoding JsonTokenizer::encode_with_starts(std::string_view text) const {
  check_utf8(text);
  return Encoder(*this, true).run(text);
}

std::vector<int32_t> JsonTokenizer::encode(std::string_view text, bool add_special) const {
  check_utf8(text);
  std::vector<int32_t> ids = Encoder(*this, false).run(text).ids;
  if (!add_special) return ids;
  ids.insert(ids.begin(), around_.before.begin(), around_.before.end());
  ids.insert(ids.end(), around_.after.begin(), around_.after.end());
  return ids;
}

std::string JsonTokenizer::decode(std::span<const int32_t> ids) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    if (const auto added = added_.find(id); added != added_.end()) {
      if (!added->second.special) tokens.push_back(added->second.spelling);
    } else if (const std::string* token = model_->vocabulary().token(id)) {
      tokens.push_back(*token);
    }
  }
  if (decoder_) tokens = decoder_->decode(std::move(tokens));
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!decoder_ && i > 0) text += ' ';
    text += tokens[i];
  }
  return text;
}

void JsonTokenizer::save_to(const std::filesystem::path& folder) const {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"})
    if (const auto file = files_.find(name); file != files_.end())
      write_file_durably((folder / name).string(), std::string_view(file->second));
}

std::string JsonTokenizer::fingerprint() const {
  std::string all = files_.at("tokenizer.json");
  for (const auto& ids :
       {around_.before, around_.after, std::vector<int32_t>{bos_.value_or(-1), eos_.value_or(-1)}})
    all += fmt::format("|{}", nlohmann::json(ids).dump());
  return sha256_hex(std::as_bytes(std::span(all)));
}

}  // namespace collie
