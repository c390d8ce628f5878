#include "io/tokenizer.hpp"

#include "base/error.hpp"
#include "io/files.hpp"
#include "io/tokenizers/json_tokenizer.hpp"

namespace collie {

std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& folder,
                                                const std::string& kind) {
  if (kind == "byte") return byte_tokenizer();
  if (kind != "auto") throw UserError("tokenizer.kind: '{}' is not known; known: auto, byte", kind);
  const auto file = folder / "tokenizer.json";
  if (!may_be_there(file.string())) {
    const bool sentencepiece = may_be_there((folder / "tokenizer.model").string());
    throw UserError(
        "{}: there is no such file{}; give tokenizer.path a folder that has it, or set tokenizer.kind to "
        "byte",
        file.string(), sentencepiece ? " (only a tokenizer.model, which is not supported yet)" : "");
  }
  TokenizerFiles files;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "generation_config.json", "config.json"})
    if (const std::string path = (folder / name).string(); may_be_there(path))
      files[name] = read_text_file(path);
  return std::make_shared<const JsonTokenizer>(std::move(files), folder);
}

}  // namespace collie
