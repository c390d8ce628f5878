#include "io/dataset.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "base/log.hpp"
#include "base/regular_file.hpp"
#include "base/sha256.hpp"
#include "io/dataset_formats.hpp"
#include "io/file_hash.hpp"
#include "io/files.hpp"
#include "io/mapped_file.hpp"
#include "io/token_cache.hpp"
#include "io/utf8.hpp"

namespace collie {

Dataset::Dataset(std::vector<DocumentBlock> blocks, std::string name, std::string fingerprint)
    : name_(std::move(name)), fingerprint_(std::move(fingerprint)), blocks_(std::move(blocks)) {
  for (const auto& block : blocks_) {
    COLLIE_ASSERT(block.offsets.size() == block.first_spans.size() &&
                      block.offsets.back() == block.tokens.size() &&
                      block.first_spans.back() == block.targets.size(),
                  "{}: a block of documents does not fit together", name_);
    first_document_.push_back(document_count_);
    document_count_ += static_cast<int64_t>(block.offsets.size()) - 1;
    token_count_ += static_cast<int64_t>(block.tokens.size());
  }
  first_document_.push_back(document_count_);
  for (int64_t i = 0; i < document_count_; ++i) {
    const DocumentView view = document(i);
    pair_count_ += view.pairs();
    target_count_ += view.target_count(0, view.pairs());
  }
  if (target_count_ == 0)
    throw UserError("{}: there is nothing to learn from: {} documents without a single target token", name_,
                    document_count_);
}

int64_t DocumentView::target_count(int64_t first, int64_t count) const {
  const int64_t begin = first + 1, end = first + count + 1;  // of the tokens that the pairs predict
  auto span = std::partition_point(targets.begin(), targets.end(),
                                   [&](const TokenSpan& each) { return each.end <= begin; });
  int64_t found = 0;
  for (; span != targets.end() && span->begin < end; ++span)
    found += std::min<int64_t>(span->end, end) - std::max<int64_t>(span->begin, begin);
  return found;
}

DocumentView Dataset::document(int64_t index) const {
  COLLIE_ASSERT(index >= 0 && index < document_count_, "{}: document {} of {}", name_, index,
                document_count_);
  const auto after = std::upper_bound(first_document_.begin(), first_document_.end(), index);
  const auto number = static_cast<size_t>(after - first_document_.begin()) - 1;
  const DocumentBlock& block = blocks_[number];
  const auto local = static_cast<size_t>(index - first_document_[number]);
  const uint64_t begin = block.offsets[local], end = block.offsets[local + 1];
  const uint64_t first = block.first_spans[local], last = block.first_spans[local + 1];
  return {block.tokens.subspan(begin, end - begin), block.targets.subspan(first, last - first)};
}

Document document_from(std::vector<int32_t> tokens, int64_t first) {
  const auto size = static_cast<int64_t>(tokens.size());
  COLLIE_ASSERT(first >= 0 && first <= size && size <= INT32_MAX, "targets from {} of {} tokens", first,
                size);
  Document document{std::move(tokens), {}};
  if (first < size) document.targets.push_back({static_cast<int32_t>(first), static_cast<int32_t>(size)});
  return document;
}

void check_spans(size_t tokens, std::span<const TokenSpan> targets) {
  int32_t free = 0;
  for (const TokenSpan& span : targets) {
    COLLIE_ASSERT(span.begin >= free && span.end > span.begin && static_cast<size_t>(span.end) <= tokens,
                  "targets [{}, {}) of {} tokens, those before end at {}", span.begin, span.end, tokens,
                  free);
    free = span.end;
  }
}

DocumentBlock make_block(const std::vector<Document>& documents) {
  struct Owned {
    std::vector<int32_t> tokens;
    std::vector<TokenSpan> targets;
    std::vector<uint64_t> offsets = {0}, first_spans = {0};
  };
  const auto owned = std::make_shared<Owned>();
  for (const auto& document : documents) {
    check_spans(document.tokens.size(), document.targets);
    owned->tokens.insert(owned->tokens.end(), document.tokens.begin(), document.tokens.end());
    owned->targets.insert(owned->targets.end(), document.targets.begin(), document.targets.end());
    owned->offsets.push_back(owned->tokens.size());
    owned->first_spans.push_back(owned->targets.size());
  }
  return {owned->tokens, owned->offsets, owned->targets, owned->first_spans, owned};
}

namespace {

// What a cache is made from. The data of older runs have the same key where they have the same tokens.
std::string make_key(const DataSource& source, const std::string& fingerprint, const std::string& contents) {
  nlohmann::json parts = {"collie-engine token cache 1",
                          source.format,
                          source.text,
                          source.prompt,
                          source.completion,
                          fingerprint,
                          contents};
  if (!source.prompt.empty()) parts.push_back("prompt and completion are one text");
  if (source.add_bos != "auto" || source.add_eos != "auto")
    parts.push_back({{"add_bos", source.add_bos}, {"add_eos", source.add_eos}});
  const std::string text = parts.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return sha256_hex(std::as_bytes(std::span(text)));
}

void build_cache(const std::filesystem::path& cache, const std::string& key, const DataSource& source,
                 const MappedFile& file, const Tokenizer& tokenizer) {
  if (const auto offset = first_invalid_utf8(file.text()))
    throw UserError("{}: it is not valid UTF-8 at byte {} (0x{:02X}); data files must be UTF-8",
                    file.path().string(), *offset, std::to_integer<unsigned>(file.bytes()[*offset]));
  const DatasetFormat read = dataset_formats().find(source.format);
  TokenCacheWriter writer(cache, key);
  failpoint("data.tokenise");
  read({source, file.path().string(), file.text()}, tokenizer,
       [&](const Document& document) { writer.add(document.tokens, document.targets); });
  writer.finish();
}

// Adds the file's key to `keys`.
DocumentBlock open_file(const std::string& path, const DataSource& source, const Tokenizer& tokenizer,
                        const std::string& fingerprint, const std::filesystem::path& cache_folder,
                        std::string& keys) {
  const MappedFile file(path);
  const FileHash hash(file, cache_folder);
  const std::string key = make_key(source, fingerprint, hash.sha256());
  keys += key;
  const auto cache = cache_folder / (key + ".tokens");
  std::string reason;
  if (auto block = open_token_cache(cache, key, tokenizer.vocab_size(), reason)) return *block;
  if (!reason.empty()) log::warn("token cache {}: {}; it is made anew", cache.string(), reason);
  build_cache(cache, key, source, file, tokenizer);
  if (auto block = open_token_cache(cache, key, tokenizer.vocab_size(), reason)) {
    hash.remember();
    return *block;
  }
  throw RunError("the token cache {} cannot be read back: {}", cache.string(),
                 reason.empty() ? "it is gone" : reason);
}

void check_source(const DataSource& source, const std::string& name) {
  if (source.weight != 1.0)
    throw UserError("{}: weight {} for '{}': weights other than 1 are not supported yet", name, source.weight,
                    source.path);
  dataset_formats().find(source.format);
}

}  // namespace

std::shared_ptr<const Dataset> open_dataset(const std::vector<DataSource>& sources,
                                            const Tokenizer& tokenizer,
                                            const std::filesystem::path& cache_folder,
                                            const std::string& name) {
  for (const auto& source : sources) check_source(source, name);
  std::error_code error;
  std::filesystem::create_directories(cache_folder, error);
  if (error) throw RunError("cannot make the folder {}: {}", cache_folder.string(), error.message());
  const std::string fingerprint = tokenizer.fingerprint();
  std::vector<DocumentBlock> blocks;
  std::string keys;
  for (const auto& source : sources)
    for (const auto& path : expand_glob(source.path)) {
      check_regular_file(path, name);
      blocks.push_back(open_file(path, source, tokenizer, fingerprint, cache_folder, keys));
    }
  return std::make_shared<const Dataset>(std::move(blocks), name, sha256_hex(std::as_bytes(std::span(keys))));
}

}  // namespace collie
