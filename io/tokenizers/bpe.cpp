#include "io/tokenizers/bpe.hpp"

#include <algorithm>
#include <functional>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/utf8.hpp"

namespace collie {

void MergeTable::grow(size_t size) {
  const std::vector<Merge> old = std::move(places_);
  places_.assign(size, {});
  for (const Merge& merge : old) {
    if (merge.merged < 0) continue;
    size_t place = home(merge.pair);
    while (places_[place].merged >= 0) place = (place + 1) & (size - 1);
    places_[place] = merge;
  }
}

void MergeTable::reserve(size_t count) {
  size_t size = 16;
  while (size < 2 * (count + 1)) size *= 2;
  if (size > places_.size()) grow(size);
}

void MergeTable::insert(int32_t left, int32_t right, uint32_t rank, int32_t merged) {
  reserve(used_ + 1);
  const uint64_t pair = key(left, right);
  size_t place = home(pair);
  while (places_[place].merged >= 0 && places_[place].pair != pair)
    place = (place + 1) & (places_.size() - 1);
  if (places_[place].merged < 0) ++used_;
  places_[place] = {pair, rank, merged};
}

BpeModel::BpeModel(const JsonPlace& model) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!model.text(key, "").empty()) model[key].refuse("it is not supported yet; supported: null");
  if (const auto dropout = model.find("dropout"); dropout && dropout->value() != 0)
    dropout->refuse("BPE dropout is not supported yet; supported: null");
  fuse_unknown_ = model.flag("fuse_unk", false);
  byte_fallback_ = model.flag("byte_fallback", false);
  ignore_merges_ = model.flag("ignore_merges", false);
  read_vocabulary(model["vocab"]);
  read_unknown(model);
  read_merges(model["merges"]);
  find_characters();
  find_joints();
}

void BpeModel::read_vocabulary(const JsonPlace& vocabulary) {
  if (!vocabulary.value().is_object() || vocabulary.value().empty())
    vocabulary.refuse("it must be an object from tokens to ids, with at least one");
  // Tables are as long as the largest id, so a small file must not have a large one.
  const auto count = static_cast<int64_t>(vocabulary.value().size());
  const int64_t most_ids = std::min(int64_t{1} << 24, std::max(int64_t{1} << 20, 16 * count));
  ids_.reserve(vocabulary.value().size());
  for (const auto& [token, value] : vocabulary.value().items()) {
    const JsonPlace place = vocabulary.inside(value, "'" + shortened(token) + "'");
    const int64_t id = place.integer();
    if (id < 0 || id >= most_ids)
      place.refuse(fmt::format("id {} is out of range; ids go from 0 to {}", id, most_ids - 1));
    if (id >= size()) tokens_.resize(static_cast<size_t>(id) + 1);
    auto& named = tokens_[static_cast<size_t>(id)];
    if (named)
      place.refuse(
          fmt::format("id {} is also that of '{}'; each token needs its own", id, shortened(*named)));
    named = &ids_.emplace(token, static_cast<int32_t>(id)).first->first;
  }
}

void BpeModel::read_unknown(const JsonPlace& model) {
  const auto unknown = model.find("unk_token");
  if (!unknown) return;
  const auto id = find(unknown->text());
  if (!id)
    unknown->refuse(
        fmt::format("'{}' is not in the vocabulary; it must be, or be null", shortened(unknown->text())));
  unknown_ = *id;
}

void BpeModel::read_merges(const JsonPlace& merges) {
  const size_t count = merges.size();
  merges_.reserve(count);
  for (size_t rank = 0; rank < count; ++rank) {
    const nlohmann::json& value = merges.value()[rank];
    std::string left, right;
    if (value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_string()) {
      left = value[0].get<std::string>();
      right = value[1].get<std::string>();
    } else if (value.is_string()) {  // the older form
      const auto& text = value.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
        merges[rank].refuse(fmt::format("'{}' must be two tokens with one space between", shortened(text)));
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else {
      merges[rank].refuse("it must be \"left right\" or [\"left\", \"right\"]");
    }
    const auto known = [&](const std::string& token) {
      const auto id = find(token);
      if (!id)
        merges[rank].refuse(fmt::format("it merges '{}' and '{}', but '{}' is not in the vocabulary",
                                        shortened(left), shortened(right), shortened(token)));
      return *id;
    };
    const int32_t left_id = known(left), right_id = known(right);
    merges_.insert(left_id, right_id, static_cast<uint32_t>(rank), known(left + right));
  }
}

void BpeModel::find_characters() {
  ascii_.fill(-1);
  bytes_.fill(-1);
  for (const auto& [token, id] : ids_) {
    if (token.empty()) continue;
    size_t position = 0;
    const char32_t character = next_code_point(token, position);
    if (position != token.size()) continue;
    if (character < 128)
      ascii_[character] = id;
    else
      characters_.emplace(character, id);
  }
  for (unsigned byte = 0; byte < 256; ++byte)
    if (const auto id = find(fmt::format("<0x{:02X}>", byte))) bytes_[byte] = *id;
}

// A merge works across a boundary only if its left token can end, and its right token begin, with the symbols
// there. Boundaries that no merge crosses split the text into segments. Each segment can be merged on its
// own, with exactly the result of doing all at once.
void BpeModel::find_joints() {
  std::vector<char> initial(tokens_.size(), 0);  // symbols that a text consists of at first
  const auto mark = [&](int32_t id) {
    if (id >= 0) initial[static_cast<size_t>(id)] = 1;
  };
  mark(unknown_);
  for (const int32_t id : ascii_) mark(id);
  for (const int32_t id : bytes_) mark(id);
  for (const auto& [character, id] : characters_) mark(id);

  using Symbols = std::vector<int32_t>;
  std::vector<Symbols> first(tokens_.size()), last(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id)
    if (initial[id]) first[id] = last[id] = {static_cast<int32_t>(id)};
  const auto unite = [](Symbols& into, const Symbols& from) {
    bool changed = false;
    for (const int32_t symbol : from)
      if (std::find(into.begin(), into.end(), symbol) == into.end()) {
        into.push_back(symbol);
        changed = true;
      }
    return changed;
  };
  std::vector<MergeTable::Merge> all;
  for (const auto& merge : merges_.places())
    if (merge.merged >= 0) all.push_back(merge);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.rank < b.rank; });
  const auto left = [](const MergeTable::Merge& merge) { return static_cast<size_t>(merge.pair >> 32); };
  const auto right = [](const MergeTable::Merge& merge) {
    return static_cast<size_t>(merge.pair & 0xffffffffu);
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& merge : all) {
      const auto merged = static_cast<size_t>(merge.merged);
      changed |= unite(first[merged], first[left(merge)]);
      changed |= unite(last[merged], last[right(merge)]);
    }
  }
  for (const auto& merge : all)
    for (const int32_t before : last[left(merge)])
      for (const int32_t after : first[right(merge)]) joints_.insert(before, after, 0, 0);
}

std::optional<int32_t> BpeModel::find(const std::string& token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* BpeModel::token(int32_t id) const {
  return id < 0 || id >= size() ? nullptr : tokens_[static_cast<size_t>(id)];
}

// Appends one symbol per character. If a character is not in the vocabulary, it appends its bytes or the
// unknown token. A pending unknown token is written in the library's order.
void BpeModel::append_symbols(std::string_view text, std::vector<int32_t>& symbols) const {
  bool pending = false;
  const auto flush = [&] {
    if (pending) symbols.push_back(unknown_);
    pending = false;
  };
  for (size_t position = 0; position < text.size();) {
    const size_t begin = position;
    const char32_t character = next_code_point(text, position);
    int32_t id = -1;
    if (character < 128) {
      id = ascii_[character];
    } else if (const auto found = characters_.find(character); found != characters_.end()) {
      id = found->second;
    }
    if (id >= 0) {
      flush();
      symbols.push_back(id);
      continue;
    }
    const auto spelled = text.substr(begin, position - begin);
    const auto byte_id = [&](char byte) { return bytes_[static_cast<unsigned char>(byte)]; };
    if (byte_fallback_ &&
        std::all_of(spelled.begin(), spelled.end(), [&](char byte) { return byte_id(byte) >= 0; })) {
      for (const char byte : spelled) symbols.push_back(byte_id(byte));
    } else if (unknown_ >= 0) {
      if (!fuse_unknown_) flush();
      pending = true;
    }
  }
  flush();
}

// It is reused from segment to segment.
struct BpeModel::Word {
  struct Symbol {
    int32_t id, previous, next;  // positions; -1 at the ends. id -1: merged away
  };
  struct Candidate {  // a merge of the symbol at `position` with the next one
    uint32_t rank;
    int32_t position, merged;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };

  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;

  // Segments that occurred before in this text.
  struct Found {
    std::vector<int32_t> symbols;
    size_t begin, count;  // in `found_ids`
  };
  std::unordered_multimap<uint64_t, Found> found;
  std::vector<int32_t> found_ids;
};

void BpeModel::merge(std::span<const int32_t> symbols, Word& word, std::vector<int32_t>& ids) const {
  const auto at = [&](int32_t position) -> Word::Symbol& {
    return word.symbols[static_cast<size_t>(position)];
  };
  const auto find_candidate = [&](int32_t position) -> std::optional<Word::Candidate> {
    const auto* merge = merges_.find(at(position).id, at(at(position).next).id);
    if (!merge) return std::nullopt;
    return Word::Candidate{merge->rank, position, merge->merged};
  };
  const auto push = [&](int32_t position) {
    if (const auto candidate = find_candidate(position)) {
      word.heap.push_back(*candidate);
      std::push_heap(word.heap.begin(), word.heap.end(), std::greater<>());
    }
  };

  if (symbols.size() >= size_t{INT32_MAX})
    throw UserError("{} characters of text that the tokenizer takes as one word; at most {} are supported",
                    symbols.size(), INT32_MAX - 1);
  const auto count = static_cast<int32_t>(symbols.size());
  word.symbols.clear();
  word.heap.clear();
  for (int32_t i = 0; i < count; ++i)
    word.symbols.push_back({symbols[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  for (int32_t i = 0; i + 1 < count; ++i)
    if (const auto candidate = find_candidate(i)) word.heap.push_back(*candidate);
  std::make_heap(word.heap.begin(), word.heap.end(), std::greater<>());

  while (!word.heap.empty()) {
    std::pop_heap(word.heap.begin(), word.heap.end(), std::greater<>());
    const Word::Candidate top = word.heap.back();
    word.heap.pop_back();
    Word::Symbol& symbol = at(top.position);
    if (symbol.id < 0 || symbol.next < 0) continue;
    Word::Symbol& after = at(symbol.next);
    // The neighbours may have changed since. As in the library, only the result of the merge is compared.
    const auto* current = merges_.find(symbol.id, after.id);
    if (!current || current->merged != top.merged) continue;
    symbol.id = top.merged;
    after.id = -1;
    symbol.next = after.next;
    if (symbol.next >= 0) {
      at(symbol.next).previous = top.position;
      push(top.position);
    }
    if (symbol.previous >= 0) push(symbol.previous);
  }
  for (int32_t i = 0; i >= 0; i = at(i).next) ids.push_back(at(i).id);
}

// Calls merge() once per different short segment of a text, because words come again and again.
void BpeModel::merge_or_recall(std::span<const int32_t> symbols, uint64_t hash, Word& word,
                               std::vector<int32_t>& ids) const {
  constexpr size_t longest_kept = 32, most_kept = size_t{1} << 16;
  if (symbols.size() > longest_kept) return merge(symbols, word, ids);
  const auto [from, to] = word.found.equal_range(hash);
  const auto known = std::find_if(from, to, [&](const auto& entry) {
    return std::equal(entry.second.symbols.begin(), entry.second.symbols.end(), symbols.begin(),
                      symbols.end());
  });
  if (known != to) {
    const auto start = word.found_ids.begin() + static_cast<std::ptrdiff_t>(known->second.begin);
    ids.insert(ids.end(), start, start + static_cast<std::ptrdiff_t>(known->second.count));
    return;
  }
  const size_t before = ids.size();
  merge(symbols, word, ids);
  if (word.found.size() >= most_kept) return;
  word.found.emplace(
      hash, Word::Found{{symbols.begin(), symbols.end()}, word.found_ids.size(), ids.size() - before});
  word.found_ids.insert(word.found_ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(before), ids.end());
}

void BpeModel::encode(std::string_view text, std::vector<int32_t>& ids) const {
  if (ignore_merges_)
    if (const auto id = find(std::string(text))) {
      ids.push_back(*id);
      return;
    }
  std::vector<int32_t> symbols;
  symbols.reserve(text.size());
  append_symbols(text, symbols);
  Word word;
  const std::span<const int32_t> all = symbols;
  for (size_t begin = 0, end; begin < all.size(); begin = end) {
    uint64_t hash = static_cast<uint32_t>(all[begin]);
    for (end = begin + 1; end < all.size() && joints_.find(all[end - 1], all[end]); ++end)
      hash = (hash ^ static_cast<uint32_t>(all[end])) * 0x100000001b3u + end - begin;
    if (end == begin + 1)
      ids.push_back(all[begin]);
    else
      merge_or_recall(all.subspan(begin, end - begin), hash, word, ids);
  }
}

}  // namespace collie
