#include "io/tokenizer.hpp"

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/tokenizers/json_tokenizer.hpp"
#include "io/tokenizers/older_files.hpp"
#include "io/tokenizers/sentencepiece_tokenizer.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

// A tokenizer.model is SentencePiece's protocol buffer, or, as Llama 3's, tiktoken's lines of text.
bool is_text(const std::string& contents) {
  return contents.find('\0') == std::string::npos && contents.find('\n') != std::string::npos &&
         static_cast<unsigned char>(contents.front()) > 0x20 && !first_invalid_utf8(contents);
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& folder,
                                                const std::string& kind) {
  if (kind == "byte") return byte_tokenizer();
  if (kind != "auto") throw UserError("tokenizer.kind: '{}' is not known; known: auto, byte", kind);
  TokenizerFiles files = read_settings_files(folder);
  const auto file = folder / "tokenizer.json";
  if (may_be_there(file.string())) {
    files["tokenizer.json"] = read_text_file(file.string());
    return std::make_shared<const JsonTokenizer>(std::move(files), folder);
  }
  if (const auto model = folder / "tokenizer.model"; may_be_there(model.string())) {
    std::string contents = read_text_file(model.string());
    if (contents.empty() || !is_text(contents)) {
      files["tokenizer.model"] = std::move(contents);
      return make_sentencepiece_tokenizer(std::move(files), folder);
    }
  }
  if (describe_older_files(folder, files))
    return std::make_shared<const JsonTokenizer>(std::move(files), folder);
  throw UserError(
      "{}: there is no such file, nor a tokenizer.model, vocab.json with merges.txt, vocab.txt or "
      "*.tiktoken; give "
      "tokenizer.path a folder that has one, or set tokenizer.kind to byte",
      file.string());
}

}  // namespace collie
