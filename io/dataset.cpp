#include "io/dataset.hpp"

#include <algorithm>
#include <ctime>
#include <map>
#include <optional>
#include <set>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/regular_file.hpp"
#include "base/screen.hpp"
#include "base/sha256.hpp"
#include "io/chat_template.hpp"
#include "io/dataset_formats.hpp"
#include "io/file_hash.hpp"
#include "io/files.hpp"
#include "io/plugins.hpp"
#include "io/positional_file.hpp"
#include "io/token_cache.hpp"
#include "io/tokenising.hpp"
#include "io/tokenising_progress.hpp"
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

Dataset::Place Dataset::find(int64_t document) const {
  COLLIE_ASSERT(document >= 0 && document < document_count_, "{}: document {} of {}", name_, document,
                document_count_);
  const auto after = std::upper_bound(first_document_.begin(), first_document_.end(), document);
  const auto number = static_cast<size_t>(after - first_document_.begin()) - 1;
  return {blocks_[number], static_cast<size_t>(document - first_document_[number])};
}

DocumentView Dataset::document(int64_t index) const {
  const auto [block, local] = find(index);
  return block.document(local);
}

void Dataset::read_tokens(int64_t document, int64_t first, std::span<int32_t> out) const {
  const auto [block, index] = find(document);
  const uint64_t begin = block.offsets[index] + static_cast<uint64_t>(first);
  COLLIE_ASSERT(first >= 0 && begin + out.size() <= block.offsets[index + 1],
                "{}: {} tokens from {} of document {}", name_, out.size(), first, document);
  if (block.file)
    block.file->read(block.first_byte + begin * sizeof(int32_t), std::as_writable_bytes(out));
  else
    std::copy_n(block.tokens.data() + begin, out.size(), out.data());
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
  put("plugin", plugin_of_format(source.format), "");  // another version of it may read otherwise
  if (options.max_bad_lines > 0) more["max_bad_lines"] = options.max_bad_lines;
  nlohmann::json parts = {
      "collie-engine token cache 1", source.format, source.text, source.prompt, source.completion, tokenizer};
  if (!more.empty()) parts.push_back(more);
  return parts;
}

// The keys of a source that decide what becomes of its files, for messages.
std::string words_of_settings(const DataSource& source) {
  const std::pair<const char*, const std::string&> keys[] = {{"format", source.format},
                                                             {"text", source.text},
                                                             {"prompt", source.prompt},
                                                             {"completion", source.completion},
                                                             {"messages", source.messages},
                                                             {"tools", source.tools},
                                                             {"chat_template", source.chat_template},
                                                             {"tokens", source.tokens},
                                                             {"labels", source.labels},
                                                             {"add_bos", source.add_bos},
                                                             {"add_eos", source.add_eos}};
  std::string words;
  for (const auto& [name, value] : keys)
    if (!value.empty() && value != "auto")
      words += fmt::format("{}{}: {}", words.empty() ? "" : ", ", name, replace_invalid_utf8(value));
  return words;
}

SourceReader make_reader(const DataSource& source, const Tokenizer& tokenizer, const std::string& fingerprint,
                         const DatasetOptions& options) {
  SourceReader reader{source, tokenizer, options, std::nullopt, parts_of_key(source, fingerprint, options)};
  if (source.format == "chat")
    reader.chat_template = source.chat_template.empty()
                               ? ChatTemplate::load(options.tokenizer_folder)
                               : ChatTemplate::from_file(source.chat_template, options.tokenizer_folder);
  if (reader.chat_template && reader.chat_template->has_generation())
    reader.parts_of_key.push_back("tokens that overlap generation blocks");
  return reader;
}

// What a cache is made from.
std::string make_key(const SourceReader& reader, const std::string& contents) {
  nlohmann::json parts = reader.parts_of_key;
  parts.push_back(contents);
  const std::string text = parts.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return sha256_hex(std::as_bytes(std::span(text)));
}

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  return parts;
}

// A data file of the set.
struct OpenedFile {
  const SourceReader* reader;
  std::string path;
  FileHash hash;
  std::string key;
  std::filesystem::path cache;
  std::optional<TokenCache> tokens = std::nullopt;
};

class DatasetOpener {
 public:
  DatasetOpener(const Tokenizer& tokenizer, std::filesystem::path cache_folder, const DatasetOptions& options)
      : tokenizer_(tokenizer), cache_folder_(std::move(cache_folder)), options_(options) {}

  // Looks for the caches of the source's files.
  void add(const SourceReader& reader) {
    for (const auto& path : expand_glob(reader.source.path)) {
      check_regular_file(path, options_.name);
      FileHash hash(path, cache_folder_);
      const std::string key = make_key(reader, hash.sha256());
      files_.push_back({&reader, path, std::move(hash), key, cache_folder_ / (key + ".tokens")});
      OpenedFile& file = files_.back();
      const std::string reason = open(file);
      if (!reason.empty() && reason != cache_of_earlier_version)
        log::warn("token cache {}: {}; it is made anew", file.cache.string(), reason);
    }
  }

  // Tokenises the files that have no cache.
  void tokenise_others() {
    std::vector<TokenisingTask> tasks;
    std::set<std::string> wanted;
    uint64_t bytes = 0;
    for (const OpenedFile& file : files_) {
      if (file.tokens || !wanted.insert(file.key).second) continue;
      const SourceReader& reader = *file.reader;
      tasks.push_back(
          {{reader.source, file.path, reader.chat_template ? &*reader.chat_template : nullptr, local_time()},
           file.cache,
           file.key});
      bytes += open_regular_file(file.path).bytes;
      if (const auto& check = dataset_formats().find(reader.source.format).check)
        check(tasks.back().file, tokenizer_);
    }
    TokenisingProgress progress(
        bytes, [&]() -> Screen& { return standard_error(); }, steady_seconds());
    TokenisingOptions how{options_.max_bad_lines, options_.threads};
    if (options_.shows_progress)
      how.progress = [&](uint64_t done, const std::string& path) {
        progress.show(done, path, steady_seconds());
      };
    tokenise(tasks, tokenizer_, how);
    for (OpenedFile& file : files_) {
      if (file.tokens) continue;
      const std::string reason = open(file);
      if (!file.tokens)
        throw RunError("the token cache {} cannot be read back: {}", file.cache.string(),
                       reason.empty() ? "it is gone" : reason);
      file.hash.remember();
    }
  }

  void say_findings() const {
    for (const OpenedFile& file : files_) try {
        DataFindings::from_text(file.tokens->findings, file.path).say(file.path);
      } catch (const std::exception& error) {
        log::warn("token cache {}: what it says of its file cannot be read: {}", file.cache.string(),
                  error.what());
      }
  }

  const std::vector<OpenedFile>& files() const { return files_; }

 private:
  // The reason if there is a cache and it is of no use.
  std::string open(OpenedFile& file) const {
    std::string reason;
    file.tokens = open_token_cache(file.cache, file.key, tokenizer_.vocab_size(), reason);
    return reason;
  }

  const Tokenizer& tokenizer_;
  std::filesystem::path cache_folder_;
  const DatasetOptions& options_;
  std::vector<OpenedFile> files_;
};

// Records taken as running text teach their braces and keys.
void warn_of_records_as_text(const DataSource& source) {
  if (source.format != "text") return;
  std::filesystem::path path = source.path;
  if (path.extension() == ".gz" || path.extension() == ".zst") path = path.stem();
  if (path.extension() == ".jsonl" || path.extension() == ".ndjson")
    log::warn(
        "{}: the whole file is taken as one text, braces and keys included, as its format is text; format "
        "jsonl, "
        "chat or tokens reads its lines as records",
        source.path);
}

std::string hash_of(const std::string& text) {
  return sha256_hex(std::as_bytes(std::span(text)));
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
  std::vector<SourceReader> readers;
  readers.reserve(sources.size());
  DatasetOpener opener(tokenizer, cache_folder, options);
  for (const auto& source : sources) {
    warn_of_records_as_text(source);
    opener.add(readers.emplace_back(make_reader(source, tokenizer, fingerprint, options)));
  }
  opener.tokenise_others();
  opener.say_findings();
  std::vector<DocumentBlock> blocks;
  std::vector<DatasetSource> opened;
  std::string all_keys;
  for (const SourceReader& reader : readers) {
    std::string contents;
    const size_t before = blocks.size();
    for (const OpenedFile& file : opener.files()) {
      if (file.reader != &reader) continue;
      blocks.push_back(file.tokens->block);
      contents += file.hash.sha256();
      all_keys += file.key;
    }
    opened.push_back({.path = reader.source.path,
                      .settings = words_of_settings(reader.source),
                      .contents = hash_of(contents),
                      .blocks = blocks.size() - before});
  }
  return std::make_shared<const Dataset>(std::move(blocks), std::move(opened), options.name,
                                         hash_of(all_keys));
}

}  // namespace collie
