#include "io/dataset.hpp"

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "base/log.hpp"
#include "base/regular_file.hpp"
#include "base/sha256.hpp"
#include "io/chat_template.hpp"
#include "io/dataset_formats.hpp"
#include "io/file_hash.hpp"
#include "io/files.hpp"
#include "io/mapped_file.hpp"
#include "io/token_cache.hpp"
#include "io/unpacked_file.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

void count(const DocumentBlock& block, DatasetSource& source) {
  source.documents += static_cast<int64_t>(block.offsets.size()) - 1;
  source.tokens += static_cast<int64_t>(block.tokens.size());
  for (size_t i = 0; i + 1 < block.offsets.size(); ++i) {
    const DocumentView view = block.document(i);
    source.pairs += view.pairs();
    source.targets += view.target_count(0, view.pairs());
  }
}

}  // namespace

DocumentView DocumentBlock::document(size_t index) const {
  const uint64_t begin = offsets[index], end = offsets[index + 1];
  const uint64_t first = first_spans[index], last = first_spans[index + 1];
  return {tokens.subspan(begin, end - begin), targets.subspan(first, last - first)};
}

Dataset::Dataset(std::vector<DocumentBlock> blocks, std::string name, std::string fingerprint)
    : Dataset(blocks, {{.path = "", .settings = "", .contents = "", .blocks = blocks.size()}},
              std::move(name), std::move(fingerprint)) {}

Dataset::Dataset(std::vector<DocumentBlock> blocks, std::vector<DatasetSource> sources, std::string name,
                 std::string fingerprint)
    : name_(std::move(name)),
      fingerprint_(std::move(fingerprint)),
      blocks_(std::move(blocks)),
      sources_(std::move(sources)) {
  first_document_.push_back(0);
  auto block = blocks_.begin();
  for (DatasetSource& source : sources_) {
    for (size_t i = 0; i < source.blocks; ++i, ++block) {
      COLLIE_ASSERT(block->offsets.size() == block->first_spans.size() &&
                        block->offsets.back() == block->tokens.size() &&
                        block->first_spans.back() == block->targets.size(),
                    "{}: a block of documents does not fit together", name_);
      count(*block, source);
      first_document_.push_back(document_count_ + source.documents);
    }
    document_count_ += source.documents;
    token_count_ += source.tokens;
    pair_count_ += source.pairs;
    target_count_ += source.targets;
  }
  COLLIE_ASSERT(block == blocks_.end(), "{}: more blocks than its sources have", name_);
  if (document_count_ == 0)
    throw UserError(
        "{}: there is nothing to learn from: the files have no documents (empty files, or lines that are "
        "left out)",
        name_);
  if (target_count_ == 0)
    throw UserError("{}: there is nothing to learn from: {} documents without a single target token", name_,
                    document_count_);
}

size_t Dataset::source_of(int64_t document) const {
  size_t source = 0;
  while (source + 1 < sources_.size() && document >= sources_[source].documents)
    document -= sources_[source++].documents;
  return source;
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
  return block.document(local);
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

// How one source is read.
struct SourceReader {
  const DataSource& source;
  const Tokenizer& tokenizer;
  const DatasetOptions& options;
  std::optional<ChatTemplate> chat_template;
  nlohmann::json parts_of_key;  // all that decides what becomes of a file's contents
};

// The files that a chat template and its special tokens come from.
std::string chat_files(const DataSource& source, const std::filesystem::path& folder) {
  std::string all;
  if (!source.chat_template.empty()) all += read_text_file(source.chat_template);
  for (const char* name : {"chat_template.jinja", "tokenizer_config.json", "special_tokens_map.json",
                           "generation_config.json", "chat_template.json"})
    if (const auto path = folder / name; may_be_there(path.string()))
      all += fmt::format("|{}|{}", name, read_text_file(path.string()));
  std::error_code none;
  std::map<std::string, std::string> more;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "additional_chat_templates", none))
    more[entry.path().filename().string()] = read_text_file(entry.path().string());
  for (const auto& [name, contents] : more) all += fmt::format("|{}|{}", name, contents);
  return sha256_hex(std::as_bytes(std::span(all)));
}

// The data of older runs have the same fingerprint where they have the same tokens.
nlohmann::json parts_of_key(const DataSource& source, const std::string& tokenizer,
                            const DatasetOptions& options) {
  nlohmann::json more = nlohmann::json::object();
  const auto put = [&](const char* key, const std::string& value, const std::string& usual) {
    if (value != usual) more[key] = value;
  };
  if (!source.prompt.empty()) more["joined"] = "prompt and completion are one text";
  put("add_bos", source.add_bos, "auto");
  put("add_eos", source.add_eos, "auto");
  put("messages", source.messages, "");
  put("tools", source.tools, "");
  put("tokens", source.tokens, "");
  put("labels", source.labels, "");
  if (source.format == "chat") more["chat"] = chat_files(source, options.tokenizer_folder);
  if (options.max_bad_lines > 0) more["max_bad_lines"] = options.max_bad_lines;
  nlohmann::json parts = {
      "collie-engine token cache 1", source.format, source.text, source.prompt, source.completion, tokenizer};
  if (!more.empty()) parts.push_back(more);
  return parts;
}

SourceReader make_reader(const DataSource& source, const Tokenizer& tokenizer, const std::string& fingerprint,
                         const DatasetOptions& options) {
  SourceReader reader{source, tokenizer, options, std::nullopt, parts_of_key(source, fingerprint, options)};
  if (source.format == "chat")
    reader.chat_template = source.chat_template.empty()
                               ? ChatTemplate::load(options.tokenizer_folder)
                               : ChatTemplate::from_file(source.chat_template, options.tokenizer_folder);
  return reader;
}

// What a cache is made from.
std::string make_key(const SourceReader& reader, const std::string& contents) {
  nlohmann::json parts = reader.parts_of_key;
  parts.push_back(contents);
  const std::string text = parts.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return sha256_hex(std::as_bytes(std::span(text)));
}

void build_cache(const std::filesystem::path& cache, const std::string& key, const SourceReader& reader,
                 const MappedFile& file) {
  const UnpackedFile unpacked(file, cache);
  const std::string_view text = unpacked.text();
  if (const auto offset = first_invalid_utf8(text))
    throw UserError("{}: it is not valid UTF-8 at byte {} (0x{:02X}); data files must be UTF-8",
                    file.path().string(), *offset,
                    static_cast<unsigned>(static_cast<unsigned char>(text[*offset])));
  const DatasetFormat read = dataset_formats().find(reader.source.format);
  TokenCacheWriter writer(cache, key);
  failpoint("data.tokenise");
  read({reader.source, file.path().string(), text, reader.chat_template ? &*reader.chat_template : nullptr,
        reader.options.max_bad_lines},
       reader.tokenizer, [&](const Document& document) { writer.add(document.tokens, document.targets); });
  writer.finish();
}

// Adds the file's key to `keys`.
DocumentBlock open_file(const std::string& path, const SourceReader& reader,
                        const std::filesystem::path& cache_folder, std::string& keys) {
  const MappedFile file(path);
  const FileHash hash(file, cache_folder);
  const std::string key = make_key(reader, hash.sha256());
  keys += key;
  const auto cache = cache_folder / (key + ".tokens");
  std::string reason;
  const int64_t vocab_size = reader.tokenizer.vocab_size();
  if (auto block = open_token_cache(cache, key, vocab_size, reason)) return *block;
  if (!reason.empty()) log::warn("token cache {}: {}; it is made anew", cache.string(), reason);
  build_cache(cache, key, reader, file);
  if (auto block = open_token_cache(cache, key, vocab_size, reason)) {
    hash.remember();
    return *block;
  }
  throw RunError("the token cache {} cannot be read back: {}", cache.string(),
                 reason.empty() ? "it is gone" : reason);
}

}  // namespace

std::shared_ptr<const Dataset> open_dataset(const std::vector<DataSource>& sources,
                                            const Tokenizer& tokenizer,
                                            const std::filesystem::path& cache_folder,
                                            const DatasetOptions& options) {
  for (const auto& source : sources) dataset_formats().find(source.format);
  std::error_code error;
  std::filesystem::create_directories(cache_folder, error);
  if (error) throw RunError("cannot make the folder {}: {}", cache_folder.string(), error.message());
  const std::string fingerprint = tokenizer.fingerprint();
  std::vector<DocumentBlock> blocks;
  std::vector<DatasetSource> opened;
  std::string all_keys;
  for (const auto& source : sources) {
    const SourceReader reader = make_reader(source, tokenizer, fingerprint, options);
    std::string keys;
    const size_t before = blocks.size();
    for (const auto& path : expand_glob(source.path)) {
      check_regular_file(path, options.name);
      blocks.push_back(open_file(path, reader, cache_folder, keys));
    }
    opened.push_back({.path = source.path,
                      .settings = reader.parts_of_key.dump(),
                      .contents = sha256_hex(std::as_bytes(std::span(keys))),
                      .blocks = blocks.size() - before});
    all_keys += keys;
  }
  return std::make_shared<const Dataset>(std::move(blocks), std::move(opened), options.name,
                                         sha256_hex(std::as_bytes(std::span(all_keys))));
}

}  // namespace collie
