#include "tests/fuzz/targets/support.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "io/dataset.hpp"
#include "io/tokenizer.hpp"

namespace collie::test {

namespace fs = std::filesystem;

std::string put(const std::string& folder, const std::string& name, const std::string& contents) {
  const std::string path = folder + "/" + name;
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << contents;
  return path;
}

void must(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

std::map<std::string, std::string> parts(const std::string& contents) {
  const std::string begin = "==> ";
  std::map<std::string, std::string> files;
  std::string* file = nullptr;
  std::istringstream stream(contents);
  for (std::string line; std::getline(stream, line);) {
    if (line.rfind(begin, 0) == 0)
      file = &files[line.substr(begin.size())];
    else if (file != nullptr)
      *file += line + (stream.eof() ? "" : "\n");
  }
  return files;
}

void read_data(const std::string& folder, const std::string& file, const std::string& contents,
               DataSource source) {
  source.path = put(folder, file, contents);
  const auto dataset = open_dataset({source}, *byte_tokenizer(), folder + "/cache", {"data.train"});
  must(dataset->token_count() >= dataset->pair_count(), "more pairs than tokens");
}

void use_tokenizer(const std::string& folder) {
  const auto tokenizer = load_tokenizer(folder, "auto");
  const std::string text =
      "A small text, caf\xc3\xa9 <s> and  spaces.\n\xe4\xbd\xa0\xe5\xa5\xbd 1234567 \xf0\x9f\x98\x80";
  const std::vector<int32_t> ids = tokenizer->encode(text, true);
  for (const int32_t id : ids) must(id >= 0 && id < tokenizer->vocab_size(), "an id outside the vocabulary");
  tokenizer->decode(ids);
  const Encoding encoding = tokenizer->encode_with_starts(text);
  must(encoding.ids == tokenizer->encode(text, false), "other ids where their starts are asked for");
  must(encoding.starts.size() == encoding.ids.size(), "a token without a start");
  for (const size_t start : encoding.starts)
    must(start <= text.size(), "a token that begins behind the text");
  tokenizer->fingerprint();
}

void use_weights(const WeightFolder& weights) {
  for (const auto& [name, place] : weights.tensors()) {
    constexpr int64_t most = 1 << 16;
    const StoredTensor& tensor = *place.tensor;
    if (tensor.elements > most || !is_real_dtype(tensor.dtype)) continue;
    std::vector<float> values(static_cast<size_t>(tensor.elements));
    TensorReader(*place.file, tensor).read(0, values);
  }
}

}  // namespace collie::test
