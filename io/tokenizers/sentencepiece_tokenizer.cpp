#include "io/tokenizers/sentencepiece_tokenizer.hpp"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <unordered_map>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "base/sha256.hpp"
#include "io/files.hpp"
#include "io/tokenizers/byte_tokens.hpp"
#include "io/tokenizers/sentencepiece_check.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

constexpr const char* model_name = "tokenizer.model";
// Protocol buffers join a message that occurs twice. This is normalizer_spec { add_dummy_prefix: false }.
constexpr std::string_view without_prefix = {"\x1A\x02\x18\x00", 4};

using Processor = sentencepiece::SentencePieceProcessor;

void load(Processor& processor, const std::string& bytes, const std::string& file) {
  const auto status = processor.LoadFromSerializedProto(bytes);
  if (!status.ok())
    throw UserError("{}: libsentencepiece cannot read it: {}", file, shortened(status.message()));
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(TokenizerFiles files, const std::filesystem::path& folder)
      : files_(std::move(files)) {
    const std::string file = (folder / model_name).string();
    check_sentencepiece_model(files_.at(model_name), file);
    load(whole_, files_.at(model_name), file);
    load(continued_, files_.at(model_name) + std::string(without_prefix), file);
    vocab_size_ = whole_.GetPieceSize();
    read_added(folder);
    const auto find = [this](const std::string& token) { return find_token(token); };
    const SpecialIds ids = read_special_ids(files_, folder, find, vocab_size_);
    bos_ = ids.bos ? ids.bos : known(whole_.bos_id());
    eos_ = ids.eos ? ids.eos : known(whole_.eos_id());
    read_config(folder);
  }

  std::vector<int32_t> encode(std::string_view text, bool add_special) const override {
    std::vector<int32_t> ids;
    if (add_special && adds_bos_) ids.push_back(*bos_);
    const Encoding encoding = encode_with_starts(text);
    ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
    if (add_special && adds_eos_) ids.push_back(*eos_);
    return ids;
  }

  Encoding encode_with_starts(std::string_view text) const override {
    if (const auto offset = first_invalid_utf8(text))
      throw UserError("the text to encode is not valid UTF-8 at byte {}", *offset);
    Encoding result;
    for (const auto& part : finder_.split(text)) {
      if (part.id < 0) {
        encode_part(part.begin > 0 && !legacy_ ? continued_ : whole_,
                    text.substr(part.begin, part.end - part.begin), part.begin, result);
        continue;
      }
      result.ids.push_back(part.id);
      result.starts.push_back(part.begin);
    }
    return result;
  }

  std::string decode(std::span<const int32_t> ids) const override {
    std::string text, bytes;
    const auto flush = [&] {
      append_byte_run(bytes, text);
      bytes.clear();
    };
    for (const int32_t id : ids) {
      const auto added = added_.find(id);
      if (added == added_.end() && id >= 0 && id < whole_.GetPieceSize() && whole_.IsByte(id)) {
        bytes.push_back(static_cast<char>(byte_of_token(whole_.IdToPiece(id))));
        continue;
      }
      flush();
      if (added != added_.end())
        text += added->second.special ? "" : added->second.content;
      else if (id >= 0 && id < whole_.GetPieceSize() && !whole_.IsControl(id) && !whole_.IsUnknown(id))
        text += spaced(whole_.IdToPiece(id));
    }
    flush();
    if (prefixed_ && !text.empty() && text.front() == ' ') text.erase(0, 1);
    return text;
  }

  int64_t vocab_size() const override { return vocab_size_; }
  std::optional<int32_t> bos() const override { return bos_; }
  std::optional<int32_t> eos() const override { return eos_; }
  bool adds_bos() const override { return adds_bos_; }

  void save_to(const std::filesystem::path& folder) const override {
    for (const char* name :
         {model_name, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"})
      if (const auto file = files_.find(name); file != files_.end())
        write_file_durably((folder / name).string(), std::string_view(file->second));
  }

  std::string fingerprint() const override {
    std::string all = files_.at(model_name);
    for (const auto& [id, token] : added_)
      all += fmt::format("|{} {} {} {} {}", id, token.content, token.lstrip, token.rstrip, token.single_word);
    all +=
        fmt::format("|{} {} {} {} {}", adds_bos_, adds_eos_, legacy_, bos_.value_or(-1), eos_.value_or(-1));
    return sha256_hex(std::as_bytes(std::span(all)));
  }

 private:
  static std::optional<int32_t> known(int id) { return id < 0 ? std::nullopt : std::optional<int32_t>(id); }

  static std::string spaced(const std::string& piece) {
    constexpr std::string_view mark = "\xE2\x96\x81";
    std::string text;
    for (size_t from = 0; from < piece.size();) {
      const bool space = piece.compare(from, mark.size(), mark) == 0;
      text += space ? ' ' : piece[from];
      from += space ? mark.size() : 1;
    }
    return text;
  }

  std::optional<int32_t> find_token(const std::string& token) const {
    for (const auto& [id, added] : added_)
      if (added.content == token) return id;
    const int id = whole_.PieceToId(token);
    return whole_.IdToPiece(id) == token ? std::optional<int32_t>(id) : std::nullopt;
  }

  void read_added(const std::filesystem::path& folder) {
    for (int id = 0; id < whole_.GetPieceSize(); ++id)
      if (whole_.IsControl(id)) {
        AddedToken token;
        token.id = id;
        token.content = whole_.IdToPiece(id);
        token.special = true;
        added_[id] = std::move(token);
      }
    for (AddedToken& token : read_added_tokens_beside(files_, folder)) {
      const int32_t id = token.id;
      if (id < whole_.GetPieceSize() && whole_.IdToPiece(id) != token.content && !whole_.IsControl(id) &&
          !whole_.IsUnused(id))
        throw UserError(
            "{}: added_tokens_decoder.{}: '{}' has the id of '{}' in tokenizer.model; each token needs its "
            "own",
            (folder / "tokenizer_config.json").string(), id, shortened(token.content),
            shortened(whole_.IdToPiece(id)));
      vocab_size_ = std::max<int64_t>(vocab_size_, int64_t{id} + 1);
      added_[id] = std::move(token);
    }
    for (const auto& [id, token] : added_) finder_.add(token, token.content);
  }

  void read_config(const std::filesystem::path& folder) {
    const nlohmann::json config = parsed_file(files_, "tokenizer_config.json", folder);
    const JsonPlace settings(config, (folder / "tokenizer_config.json").string());
    adds_bos_ = bos_ && settings.flag("add_bos_token", false);
    adds_eos_ = eos_ && settings.flag("add_eos_token", false);
    const std::string name = settings.text("tokenizer_class", "");
    legacy_ = settings.flag("legacy", name != "LlamaTokenizer" && name != "LlamaTokenizerFast");
    std::vector<int> with, without;
    static_cast<void>(whole_.Encode("a", &with));
    static_cast<void>(continued_.Encode("a", &without));
    prefixed_ = with != without;
  }

  static void encode_part(const Processor& processor, std::string_view text, size_t begin, Encoding& result) {
    sentencepiece::ImmutableSentencePieceText pieces;
    const auto status = processor.Encode(absl::string_view(text.data(), text.size()), pieces.mutable_proto());
    if (!status.ok()) throw RunError("libsentencepiece cannot encode a text: {}", status.message());
    for (size_t i = 0; i < pieces.pieces_size(); ++i) {
      const auto piece = pieces.pieces(static_cast<int>(i));
      result.ids.push_back(static_cast<int32_t>(piece.id()));
      result.starts.push_back(begin + piece.begin());
    }
  }

  TokenizerFiles files_;
  Processor whole_;      // adds the prefix that the model wants
  Processor continued_;  // adds none
  std::map<int32_t, AddedToken> added_;
  AddedTokenFinder finder_;
  std::optional<int32_t> bos_, eos_;
  int64_t vocab_size_ = 0;
  bool adds_bos_ = false, adds_eos_ = false, legacy_ = true, prefixed_ = false;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_sentencepiece_tokenizer(TokenizerFiles files,
                                                              const std::filesystem::path& folder) {
  return std::make_shared<const SentencePieceTokenizer>(std::move(files), folder);
}

}  // namespace collie
