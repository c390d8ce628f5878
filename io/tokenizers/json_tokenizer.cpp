#include "io/tokenizers/json_tokenizer.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "base/sha256.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

std::unique_ptr<BpeModel> make_model(const JsonPlace& model) {
  // The oldest files have no type; then the library goes by the keys.
  if (const auto type = model.find("type"); type && type->text() != "BPE")
    type->refuse(fmt::format("the model '{}' is not supported yet; supported: BPE", shortened(type->text())));
  return std::make_unique<BpeModel>(model);
}

void append(std::vector<int32_t>& to, const std::vector<int32_t>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace

JsonTokenizer::JsonTokenizer(TokenizerFiles files, const std::filesystem::path& folder)
    : files_(std::move(files)) {
  const std::string file = (folder / "tokenizer.json").string();
  const nlohmann::json parsed = parse_json_object(files_.at("tokenizer.json"), file);
  const JsonPlace top(parsed, file);
  model_ = make_model(top["model"]);
  vocab_size_ = model_->size();
  if (const auto part = top.find("normalizer")) normalizer_ = make_normalizer(*part);
  if (const auto part = top.find("pre_tokenizer")) pre_tokenizer_ = make_pre_tokenizer(*part);
  if (const auto part = top.find("decoder")) decoder_ = make_decoder(*part);
  if (const auto list = top.find("added_tokens")) read_added(*list);
  if (const auto part = top.find("post_processor")) read_template(*part);
  read_settings(folder);
}

void JsonTokenizer::read_added(const JsonPlace& list) {
  const auto tokens = read_added_tokens(list);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const AddedToken& token = tokens[i];
    const auto in_model = model_->find(token.content);
    if (in_model && *in_model != token.id)
      list[i].refuse(fmt::format("'{}' has id {}, but id {} in model.vocab; they must agree",
                                 shortened(token.content), token.id, *in_model));
    if (const std::string* other = model_->token(token.id); other && *other != token.content)
      list[i].refuse(
          fmt::format("'{}' has id {}, which is that of '{}' in model.vocab; each token needs its own",
                      shortened(token.content), token.id, shortened(*other)));
    std::string pattern = token.content;
    if (token.normalized && normalizer_) pattern = normalizer_->normalize(std::move(pattern));
    const auto [entry, added] = added_.emplace(token.id, Added{token.content, pattern, token.special});
    if (!added)
      list[i].refuse(fmt::format("'{}' has id {}, which is that of '{}'; each token needs its own",
                                 shortened(token.content), token.id, shortened(entry->second.content)));
    vocab_size_ = std::max<int64_t>(vocab_size_, int64_t{token.id} + 1);
    (token.normalized ? in_normalized_text_ : in_raw_text_).add(token, pattern);
  }
}

// TemplateProcessing adds special tokens before and after the text ("single"; pairs of texts are not used
// here).
void JsonTokenizer::read_template(const JsonPlace& post_processor) {
  const JsonPlace type = post_processor["type"];
  if (type.text() == "ByteLevel") return;  // only moves offsets
  if (type.text() != "TemplateProcessing")
    type.refuse(
        fmt::format("the post_processor '{}' is not supported yet; supported: ByteLevel, TemplateProcessing",
                    shortened(type.text())));
  const JsonPlace pieces = post_processor["single"];
  bool text_seen = false;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const JsonPlace piece = pieces[i];
    if (const auto sequence = piece.find("Sequence")) {
      const JsonPlace id = (*sequence)["id"];
      if (id.text() != "A" || text_seen)
        id.refuse("a template for one text must have sequence A once, and no other");
      text_seen = true;
      continue;
    }
    const std::string name = piece["SpecialToken"]["id"].text();
    const JsonPlace ids = post_processor["special_tokens"][name]["ids"];
    for (size_t k = 0; k < ids.size(); ++k) {
      const int64_t id = ids[k].integer();
      if (id < 0 || id >= vocab_size_) ids[k].refuse(fmt::format("id {} is not in the vocabulary", id));
      (text_seen ? suffix_ : prefix_).push_back(static_cast<int32_t>(id));
    }
  }
  if (!text_seen) pieces.refuse("it has no {\"Sequence\": {\"id\": \"A\"}}, so the text would be lost");
}

std::optional<int32_t> JsonTokenizer::find(const std::string& token) const {
  if (const auto id = model_->find(token)) return id;
  for (const auto& [id, added] : added_)
    if (added.content == token) return id;
  return std::nullopt;
}

// A token named by its content ("<s>", or an object with "content"), or by its id (or by a list of ids, of
// which the first counts).
std::optional<int32_t> JsonTokenizer::find_named(const JsonPlace& settings, const std::string& key) const {
  if (const auto token = settings.find(key + "_token")) {
    const JsonPlace content = token->value().is_object() ? (*token)["content"] : *token;
    if (const auto id = find(content.text())) return id;
    content.refuse(fmt::format("'{}' is not in the vocabulary of tokenizer.json", shortened(content.text())));
  }
  if (const auto token = settings.find(key + "_token_id")) {
    const JsonPlace id = token->value().is_array() && !token->value().empty() ? (*token)[size_t{0}] : *token;
    if (id.integer() >= 0 && id.integer() < vocab_size_) return static_cast<int32_t>(id.integer());
    id.refuse(fmt::format("id {} is not in the vocabulary of tokenizer.json, which has {}", id.integer(),
                          vocab_size_));
  }
  return std::nullopt;
}

void JsonTokenizer::read_settings(const std::filesystem::path& folder) {
  for (const char* name :
       {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json"}) {
    const auto file = files_.find(name);
    if (file == files_.end()) continue;
    const nlohmann::json parsed = parse_json_object(file->second, (folder / name).string());
    const JsonPlace settings(parsed, (folder / name).string());
    if (!bos_) bos_ = find_named(settings, "bos");
    if (!eos_) eos_ = find_named(settings, "eos");
  }
  // What tokenizer_config.json states directly overrides the template, as in transformers.
  const auto file = files_.find("tokenizer_config.json");
  if (file == files_.end()) return;
  const nlohmann::json parsed = parse_json_object(file->second, (folder / "tokenizer_config.json").string());
  const JsonPlace settings(parsed, (folder / "tokenizer_config.json").string());
  if (!settings.find("add_bos_token") && !settings.find("add_eos_token")) return;
  prefix_.clear();
  suffix_.clear();
  if (settings.flag("add_bos_token", false) && bos_) prefix_ = {*bos_};
  if (settings.flag("add_eos_token", false) && eos_) suffix_ = {*eos_};
}

std::vector<int32_t> JsonTokenizer::encode(std::string_view text, bool add_special) const {
  if (const auto offset = first_invalid_utf8(text))
    throw UserError("the text to encode is not valid UTF-8 at byte {}", *offset);
  std::vector<int32_t> ids;
  if (add_special) ids = prefix_;
  for (const auto& raw : in_raw_text_.split(text)) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    std::string part(text.substr(raw.begin, raw.end - raw.begin));
    if (normalizer_) part = normalizer_->normalize(std::move(part));
    for (const auto& piece : in_normalized_text_.split(part)) {
      if (piece.id >= 0) {
        ids.push_back(piece.id);
      } else if (!pre_tokenizer_) {
        model_->encode(std::string_view(part).substr(piece.begin, piece.end - piece.begin), ids);
      } else {
        std::vector<TextPiece> whole{
            {part.substr(piece.begin, piece.end - piece.begin), raw.begin == 0 && piece.begin == 0}};
        for (const auto& word : pre_tokenizer_->split(std::move(whole))) model_->encode(word.text, ids);
      }
    }
  }
  if (add_special) append(ids, suffix_);
  return ids;
}

std::string JsonTokenizer::decode(std::span<const int32_t> ids) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    if (const auto added = added_.find(id); added != added_.end()) {
      if (!added->second.special) tokens.push_back(added->second.spelling);
    } else if (const std::string* token = model_->token(id)) {
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
  for (const auto& ids : {prefix_, suffix_, std::vector<int32_t>{bos_.value_or(-1), eos_.value_or(-1)}})
    all += fmt::format("|{}", nlohmann::json(ids).dump());
  return sha256_hex(std::as_bytes(std::span(all)));
}

}  // namespace collie
