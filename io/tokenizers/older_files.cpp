#include "io/tokenizers/older_files.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/base64.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/tokenizers/components.hpp"
#include "io/tokenizers/models/vocabulary.hpp"
#include "io/tokenizers/tokenizer_description.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Calls use(line, number) for each line (from 1) that is not empty.
template <class Use>
void for_lines(std::string_view text, const Use& use) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!line.empty()) use(line, number);
  }
}

std::string read_utf8(const fs::path& file) {
  std::string text = read_text_file(file.string());
  if (const auto offset = first_invalid_utf8(text))
    throw UserError("{}: it is not valid UTF-8 at byte {}", file.string(), *offset);
  return text;
}

// What a folder's settings say about a tokenizer that has no tokenizer.json.
class Settings {
 public:
  Settings(const TokenizerFiles& files, const fs::path& folder)
      : config_(parsed_file(files, "tokenizer_config.json", folder)),
        map_(parsed_file(files, "special_tokens_map.json", folder)),
        config_place_(config_, (folder / "tokenizer_config.json").string()),
        map_place_(map_, (folder / "special_tokens_map.json").string()) {}

  const JsonPlace& config() const { return config_place_; }

  // Without "Fast" at the end.
  std::string tokenizer_class() const {
    std::string name = config_place_.text("tokenizer_class", "");
    if (name.size() > 4 && name.compare(name.size() - 4, 4, "Fast") == 0) name.resize(name.size() - 4);
    return name;
  }

  std::string token(const std::string& key, const std::string& otherwise) const {
    for (const JsonPlace* place : {&config_place_, &map_place_})
      if (const auto token = place->find(key))
        return token->value().is_object() ? (*token)["content"].text() : token->text();
    return otherwise;
  }

 private:
  nlohmann::json config_, map_;
  JsonPlace config_place_, map_place_;
};

// The special tokens among `contents` that the vocabulary has, once each.
Json special_tokens(const Json& vocabulary, const std::vector<std::string>& contents) {
  Json list = Json::array();
  for (size_t i = 0; i < contents.size(); ++i) {
    const bool again = std::find(contents.begin(), contents.begin() + static_cast<std::ptrdiff_t>(i),
                                 contents[i]) != contents.begin() + static_cast<std::ptrdiff_t>(i);
    if (!again && vocabulary.contains(contents[i]))
      list.push_back(added_token(contents[i], vocabulary[contents[i]]));
  }
  return list;
}

// A token that tokenizer_config.json wants around a text ("add_bos_token"), or none.
std::string asked_for(const Settings& settings, const std::string& which, const std::string& token) {
  return settings.config().flag("add_" + which + "_token", false) ? token : "";
}

Json describe_merges(const fs::path& folder, const Settings& settings) {
  const std::string name = settings.tokenizer_class();
  const bool qwen = name == "Qwen2Tokenizer";
  static const std::set<std::string> known = {"", "CodeGenTokenizer", "GPT2Tokenizer", "GPTNeoXTokenizer",
                                              "Qwen2Tokenizer"};
  if (!known.contains(name))
    settings.config()["tokenizer_class"].refuse(fmt::format(
        "'{}' reads vocab.json and merges.txt in a way of its own; give a tokenizer.json, or one of "
        "GPT2Tokenizer, CodeGenTokenizer, GPTNeoXTokenizer, Qwen2Tokenizer",
        shortened(name)));
  const fs::path file = folder / "vocab.json";
  Json vocabulary = Json(parse_json_object(read_text_file(file.string()), file.string()));
  Json merges = Json::array();
  for_lines(read_utf8(folder / "merges.txt"), [&](std::string_view line, size_t number) {
    if (number > 1 || line.rfind("#version", 0) != 0) merges.push_back(std::string(line));
  });
  const std::string end = "<|endoftext|>";
  const std::string bos = settings.token("bos_token", qwen ? "" : end),
                    eos = settings.token("eos_token", end);
  const bool prefix = settings.config().flag("add_prefix_space", false);
  Json special = special_tokens(
      vocabulary, {bos, eos, settings.token("unk_token", end), settings.token("pad_token", qwen ? end : "")});
  Json post = around_text(asked_for(settings, "bos", bos), asked_for(settings, "eos", eos), vocabulary);
  return describe_tokenizer(std::move(special), qwen ? Json{{"type", "NFC"}} : Json(),
                            qwen ? split_and_byte_level(qwen_pattern, prefix) : byte_level(prefix, true),
                            std::move(post), byte_level(true, true),
                            bpe_model(std::move(vocabulary), std::move(merges), false));
}

Json describe_words(const fs::path& folder, const Settings& settings) {
  const std::string name = settings.tokenizer_class();
  if (!name.empty() && name != "BertTokenizer" && name != "DistilBertTokenizer" && name != "ElectraTokenizer")
    settings.config()["tokenizer_class"].refuse(
        fmt::format("'{}' reads vocab.txt in a way of its own; give a tokenizer.json, or BertTokenizer",
                    shortened(name)));
  Json vocabulary = Json::object();
  int64_t lines = 0;
  for_lines(read_utf8(folder / "vocab.txt"), [&](std::string_view line, size_t number) {
    vocabulary[std::string(line)] = static_cast<int64_t>(number) - 1;
    lines = static_cast<int64_t>(number);
  });
  if (lines > most_token_ids)
    throw UserError("{}: it has {} lines; at most {} are supported", (folder / "vocab.txt").string(), lines,
                    most_token_ids);
  const std::string unknown = settings.token("unk_token", "[UNK]"),
                    cls = settings.token("cls_token", "[CLS]"), sep = settings.token("sep_token", "[SEP]");
  for (const std::string& token : {unknown, cls, sep})
    if (!vocabulary.contains(token))
      throw UserError("{}: it has no '{}', which BertTokenizer needs", (folder / "vocab.txt").string(),
                      shortened(token));
  const JsonPlace& config = settings.config();
  const auto accents = config.find("strip_accents");
  const Json normalizer = {{"type", "BertNormalizer"},
                           {"clean_text", true},
                           {"handle_chinese_chars", config.flag("tokenize_chinese_chars", true)},
                           {"strip_accents", accents ? Json(accents->flag()) : Json()},
                           {"lowercase", config.flag("do_lower_case", true)}};
  const Json post = {{"type", "BertProcessing"},
                     {"sep", Json::array({sep, vocabulary[sep]})},
                     {"cls", Json::array({cls, vocabulary[cls]})}};
  Json special = special_tokens(vocabulary, {settings.token("pad_token", "[PAD]"), unknown, cls, sep,
                                             settings.token("mask_token", "[MASK]")});
  return describe_tokenizer(std::move(special), normalizer, {{"type", "BertPreTokenizer"}}, post,
                            {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}},
                            {{"type", "WordPiece"},
                             {"unk_token", unknown},
                             {"continuing_subword_prefix", "##"},
                             {"max_input_chars_per_word", 100},
                             {"vocab", std::move(vocabulary)}});
}

// tiktoken's ranks: the token (bytes) and its rank, which is its id.
std::map<std::string, int64_t> read_ranks(const fs::path& file) {
  std::map<std::string, int64_t> ranks;
  for_lines(read_utf8(file), [&](std::string_view line, size_t number) {
    const size_t space = line.find(' ');
    const auto token = space == std::string_view::npos ? std::nullopt : decode_base64(line.substr(0, space));
    int64_t rank = -1;
    const auto parsed =
        std::from_chars(line.data() + std::min(space, line.size() - 1) + 1, line.data() + line.size(), rank);
    if (!token || token->empty() || parsed.ec != std::errc() || parsed.ptr != line.data() + line.size() ||
        rank < 0 || rank >= most_token_ids)
      throw UserError("{}:{}: found '{}'; a token in base64, a space and its rank are wanted", file.string(),
                      number, shortened(std::string(line)));
    if (!ranks.emplace(*token, rank).second)
      throw UserError("{}:{}: this token is there twice", file.string(), number);
  });
  return ranks;
}

std::string characters_of(std::string_view bytes) {
  std::string characters;
  append_byte_characters(characters, bytes);
  return characters;
}

// The pairs that make a token, in the order of the tokens' ranks, and for one token in the order of the
// parts'.
Json merges_of(const std::map<std::string, int64_t>& ranks) {
  using Pair = std::tuple<int64_t, int64_t, int64_t, std::string, std::string>;
  std::vector<Pair> pairs;
  for (const auto& [token, rank] : ranks)
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = ranks.find(token.substr(0, cut)), right = ranks.find(token.substr(cut));
      if (left != ranks.end() && right != ranks.end())
        pairs.emplace_back(rank, left->second, right->second, left->first, right->first);
    }
  std::sort(pairs.begin(), pairs.end());
  Json merges = Json::array();
  for (const auto& [rank, left_rank, right_rank, left, right] : pairs)
    merges.push_back(Json::array({characters_of(left), characters_of(right)}));
  return merges;
}

Json describe_ranks(const fs::path& file, const Settings& settings) {
  const auto ranks = read_ranks(file);
  Json vocabulary = Json::object();
  for (const auto& [token, rank] : ranks) vocabulary[characters_of(token)] = rank;
  const std::string name = file.filename().string();
  const bool gpt2 = name.rfind("gpt2", 0) == 0, qwen = name.rfind("qwen", 0) == 0;
  Json post = around_text(asked_for(settings, "bos", settings.token("bos_token", "")),
                          asked_for(settings, "eos", settings.token("eos_token", "")), vocabulary);
  return describe_tokenizer(
      Json::array(), Json(),
      gpt2 ? byte_level(false, true) : split_and_byte_level(qwen ? qwen_pattern : llama3_pattern, false),
      std::move(post), byte_level(true, true), bpe_model(std::move(vocabulary), merges_of(ranks), true));
}

std::optional<fs::path> find_ranks(const fs::path& folder) {
  if (may_be_there((folder / "tokenizer.model").string())) return folder / "tokenizer.model";
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".tiktoken") found.push_back(entry.path());
  if (found.size() > 1)
    throw UserError("{}: it has {} files *.tiktoken; one is wanted", folder.string(), found.size());
  return found.empty() ? std::nullopt : std::optional<fs::path>(found.front());
}

}  // namespace

std::optional<std::string> describe_older_files(const fs::path& folder, TokenizerFiles& files) {
  const Settings settings(files, folder);
  const auto there = [&](const char* name) { return may_be_there((folder / name).string()); };
  const auto put = [&](const Json& description) { files["tokenizer.json"] = description.dump(1) + "\n"; };
  if (there("vocab.json") && there("merges.txt")) {
    put(describe_merges(folder, settings));
    return "vocab.json";
  }
  if (there("vocab.txt")) {
    put(describe_words(folder, settings));
    return "vocab.txt";
  }
  if (const auto ranks = find_ranks(folder)) {
    put(describe_ranks(*ranks, settings));
    return ranks->filename().string();
  }
  return std::nullopt;
}

}  // namespace collie
