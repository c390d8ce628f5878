#include <unordered_map>

#include "io/tokenizers/byte_tokens.hpp"
#include "io/tokenizers/components.hpp"
#include "io/tokenizers/text_pattern.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

class ReplaceInTokens : public Decoder {
 public:
  explicit ReplaceInTokens(const JsonPlace& description)
      : pattern_(read_pattern(description)), content_(description["content"].text()) {}
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (auto& token : tokens) token = replaced(token);
    return tokens;
  }

 private:
  std::string replaced(const std::string& token) const {
    std::vector<PatternPart> parts;
    pattern_->find(token, parts);
    std::string result;
    for (const auto& part : parts)
      result += part.matches ? content_ : token.substr(part.range.begin, part.range.size());
    return result;
  }

  std::unique_ptr<TextPattern> pattern_;
  std::string content_;
};

// Runs of byte tokens ("<0xE2>") become the text they spell. If a run as a whole is not UTF-8, each of its
// bytes becomes U+FFFD.
class ByteFallback : public Decoder {
 public:
  explicit ByteFallback(const JsonPlace&) {}

  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    std::vector<std::string> result;
    std::string run;
    for (auto& token : tokens) {
      if (const int byte = byte_of_token(token); byte >= 0) {
        run.push_back(static_cast<char>(byte));
        continue;
      }
      flush(run, result);
      result.push_back(std::move(token));
    }
    flush(run, result);
    return result;
  }

 private:
  static void flush(std::string& run, std::vector<std::string>& result) {
    if (run.empty()) return;
    result.emplace_back();
    append_byte_run(run, result.back());
    run.clear();
  }
};

class Fuse : public Decoder {
 public:
  explicit Fuse(const JsonPlace&) {}
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    std::string all;
    for (const auto& token : tokens) all += token;
    return {std::move(all)};
  }
};

// Takes up to `start` of the character `content` off the front of each token, and up to `stop` off its end.
class StripFromTokens : public Decoder {
 public:
  explicit StripFromTokens(const JsonPlace& description)
      : content_(read_character(description["content"])),
        start_(description["start"].integer()),
        stop_(description["stop"].integer()) {}

  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (auto& token : tokens) {
      size_t begin = 0, end = token.size();
      const size_t size = content_.size();
      for (int64_t i = 0; i < start_ && token.compare(begin, size, content_) == 0; ++i) begin += size;
      for (int64_t i = 0; i < stop_ && end >= begin + size && token.compare(end - size, size, content_) == 0;
           ++i)
        end -= size;
      token = token.substr(begin, end - begin);
    }
    return tokens;
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

class MetaspaceDecoder : public Decoder {
 public:
  explicit MetaspaceDecoder(const JsonPlace& description)
      : mark_(read_character(description["replacement"])) {
    const bool prefix = description.flag("add_prefix_space", true);
    prepended_ = description.text("prepend_scheme", prefix ? "always" : "never") != "never";
  }
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], mark_, i == 0 && prepended_ ? "" : " ");
    return tokens;
  }

 private:
  std::string mark_;
  bool prepended_;
};

// A token with a character that stands for no byte is taken as its own UTF-8.
class ByteLevelDecoder : public Decoder {
 public:
  explicit ByteLevelDecoder(const JsonPlace&) {
    for (size_t byte = 0; byte < 256; ++byte) bytes_[byte_characters()[byte]] = static_cast<char>(byte);
  }
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    std::string all;
    for (const auto& token : tokens) all += bytes_of(token);
    return {replace_invalid_utf8(all)};
  }

 private:
  std::string bytes_of(const std::string& token) const {
    std::string bytes;
    for (size_t position = 0; position < token.size();) {
      const auto found = bytes_.find(next_code_point(token, position));
      if (found == bytes_.end()) return token;
      bytes.push_back(found->second);
    }
    return bytes;
  }

  std::unordered_map<char32_t, char> bytes_;
};

// Tokens that do not begin with the prefix begin a word, and get a space before them.
class WordPieceDecoder : public Decoder {
 public:
  explicit WordPieceDecoder(const JsonPlace& description)
      : prefix_(description.text("prefix", "##")), cleanup_(description.flag("cleanup", true)) {}

  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) {
        const bool continues = tokens[i].compare(0, prefix_.size(), prefix_) == 0;
        tokens[i] = continues ? tokens[i].substr(prefix_.size()) : " " + tokens[i];
      }
      if (cleanup_) clean_up(tokens[i]);
    }
    return tokens;
  }

 private:
  static void clean_up(std::string& text) {
    static constexpr std::pair<const char*, const char*> changes[] = {
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& [from, to] : changes) text = replace_all(text, from, to);
  }

  std::string prefix_;
  bool cleanup_;
};

// The suffix of a word's last token becomes a space, but not at the end of the text.
class BpeDecoder : public Decoder {
 public:
  explicit BpeDecoder(const JsonPlace& description) : suffix_(description.text("suffix", "</w>")) {
    if (suffix_.empty()) description["suffix"].refuse("it must not be empty");
  }
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
    return tokens;
  }

 private:
  std::string suffix_;
};

class DecoderSequence : public Decoder {
 public:
  explicit DecoderSequence(const JsonPlace& description) {
    const JsonPlace list = description["decoders"];
    for (size_t i = 0; i < list.size(); ++i) parts_.push_back(make_decoder(list[i]));
  }
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (const auto& part : parts_) tokens = part->decode(std::move(tokens));
    return tokens;
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(const JsonPlace& description) {
  return make_component<Decoder>(description, "decoder",
                                 {{"BPEDecoder", make_part<Decoder, BpeDecoder>},
                                  {"ByteFallback", make_part<Decoder, ByteFallback>},
                                  {"ByteLevel", make_part<Decoder, ByteLevelDecoder>},
                                  {"Fuse", make_part<Decoder, Fuse>},
                                  {"Metaspace", make_part<Decoder, MetaspaceDecoder>},
                                  {"Replace", make_part<Decoder, ReplaceInTokens>},
                                  {"Sequence", make_part<Decoder, DecoderSequence>},
                                  {"Strip", make_part<Decoder, StripFromTokens>},
                                  {"WordPiece", make_part<Decoder, WordPieceDecoder>}});
}

}  // namespace collie
