#include "io/tokenizers/models/bpe.hpp"

#include <algorithm>
#include <functional>

#include "base/error.hpp"
#include "io/tokenizers/models/models.hpp"
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

BpeModel::BpeModel(const JsonPlace& model)
    : continuing_prefix_(model.text("continuing_subword_prefix", "")),
      end_suffix_(model.text("end_of_word_suffix", "")),
      fuse_unknown_(model.flag("fuse_unk", false)),
      byte_fallback_(model.flag("byte_fallback", false)),
      ignore_merges_(model.flag("ignore_merges", false)) {
  if (const auto dropout = model.find("dropout"); dropout && dropout->value() != 0)
    dropout->refuse("BPE dropout is not supported yet; supported: null");
  vocabulary_ = Vocabulary(model["vocab"]);
  unknown_ = read_unknown_token(model, "unk_token", vocabulary_).value_or(-1);
  read_merges(model["merges"]);
  find_characters();
  find_joints();
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
      const auto id = vocabulary_.find(token);
      if (!id)
        merges[rank].refuse(fmt::format("it merges '{}' and '{}', but '{}' is not in the vocabulary",
                                        shortened(left), shortened(right), shortened(token)));
      return *id;
    };
    const int32_t left_id = known(left), right_id = known(right);
    std::string merged = left;
    merged.append(right, std::min(continuing_prefix_.size(), right.size()));
    merges_.insert(left_id, right_id, static_cast<uint32_t>(rank), known(merged));
  }
}

void BpeModel::find_characters() {
  ascii_.fill(-1);
  bytes_.fill(-1);
  for (const auto& [token, id] : vocabulary_.ids()) {
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
    if (const auto id = vocabulary_.find(fmt::format("<0x{:02X}>", byte))) bytes_[byte] = *id;
}

// A merge works across a boundary only if its left token can end, and its right token begin, with the symbols
// there. Boundaries that no merge crosses split the text into segments. Each segment can be merged on its
// own, with exactly the result of doing all at once.
void BpeModel::find_joints() {
  const auto count = static_cast<size_t>(vocabulary_.size());
  std::vector<char> initial(count, 0);  // symbols that a word consists of at first
  const auto mark = [&](int32_t id) {
    if (id >= 0) initial[static_cast<size_t>(id)] = 1;
  };
  mark(unknown_);
  for (const int32_t id : ascii_) mark(id);
  for (const int32_t id : bytes_) mark(id);
  for (const auto& [character, id] : characters_) mark(id);
  if (!continuing_prefix_.empty() || !end_suffix_.empty())  // a symbol is more than a character
    std::fill(initial.begin(), initial.end(), 1);

  using Ids = std::vector<int32_t>;
  std::vector<Ids> first(count), last(count);
  for (size_t id = 0; id < count; ++id)
    if (initial[id]) first[id] = last[id] = {static_cast<int32_t>(id)};
  const auto unite = [](Ids& into, const Ids& from) {
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

// The id of a character in its place in the word; -1 if the vocabulary lacks it.
int32_t BpeModel::symbol_of(char32_t character, std::string_view spelled, bool first, bool last) const {
  const bool prefixed = !first && !continuing_prefix_.empty(), suffixed = last && !end_suffix_.empty();
  if (prefixed || suffixed) {
    std::string symbol(prefixed ? continuing_prefix_ : "");
    symbol += spelled;
    if (suffixed) symbol += end_suffix_;
    return vocabulary_.find(symbol).value_or(-1);
  }
  if (character < 128) return ascii_[character];
  const auto found = characters_.find(character);
  return found == characters_.end() ? -1 : found->second;
}

// Appends one symbol per character. If a character is not in the vocabulary, it appends its bytes or the
// unknown token. A pending unknown token is written in the library's order.
void BpeModel::append_symbols(std::string_view word, std::vector<WordToken>& symbols) const {
  std::optional<uint32_t> pending;  // where an unknown token begins
  const auto flush = [&] {
    if (pending) symbols.push_back({unknown_, *pending});
    pending.reset();
  };
  for (size_t next = 0; next < word.size();) {
    const size_t begin = next;
    const char32_t character = next_code_point(word, next);
    const auto spelled = word.substr(begin, next - begin);
    if (const int32_t id = symbol_of(character, spelled, begin == 0, next == word.size()); id >= 0) {
      flush();
      symbols.push_back({id, static_cast<uint32_t>(begin)});
      continue;
    }
    const auto byte_id = [&](char byte) { return bytes_[static_cast<unsigned char>(byte)]; };
    if (byte_fallback_ &&
        std::all_of(spelled.begin(), spelled.end(), [&](char byte) { return byte_id(byte) >= 0; })) {
      for (size_t i = begin; i < next; ++i) symbols.push_back({byte_id(word[i]), static_cast<uint32_t>(i)});
    } else if (unknown_ >= 0) {
      if (!fuse_unknown_) flush();
      if (!pending) pending = static_cast<uint32_t>(begin);
    }
  }
  flush();
}

struct BpeModel::Scratch : Workspace {
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
  struct Merged {
    int32_t id, position;  // of its first symbol
  };

  std::vector<WordToken> word;  // its characters
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::vector<Merged> merged;  // the result of merge()

  // Segments that occurred before.
  struct Found {
    std::vector<int32_t> symbols;
    std::vector<Merged> merged;
  };
  std::unordered_multimap<uint64_t, Found> found;
};

std::unique_ptr<TokenModel::Workspace> BpeModel::make_workspace() const {
  return std::make_unique<Scratch>();
}

void BpeModel::merge(Symbols symbols, Scratch& scratch) const {
  const auto at = [&](int32_t position) -> Scratch::Symbol& {
    return scratch.symbols[static_cast<size_t>(position)];
  };
  const auto find_candidate = [&](int32_t position) -> std::optional<Scratch::Candidate> {
    const auto* merge = merges_.find(at(position).id, at(at(position).next).id);
    if (!merge) return std::nullopt;
    return Scratch::Candidate{merge->rank, position, merge->merged};
  };
  const auto push = [&](int32_t position) {
    if (const auto candidate = find_candidate(position)) {
      scratch.heap.push_back(*candidate);
      std::push_heap(scratch.heap.begin(), scratch.heap.end(), std::greater<>());
    }
  };

  if (symbols.size() >= size_t{INT32_MAX})
    throw UserError("{} characters of text that the tokenizer takes as one word; at most {} are supported",
                    symbols.size(), INT32_MAX - 1);
  const auto count = static_cast<int32_t>(symbols.size());
  scratch.symbols.clear();
  scratch.heap.clear();
  scratch.merged.clear();
  for (int32_t i = 0; i < count; ++i)
    scratch.symbols.push_back({symbols[static_cast<size_t>(i)].id, i - 1, i + 1 < count ? i + 1 : -1});
  for (int32_t i = 0; i + 1 < count; ++i)
    if (const auto candidate = find_candidate(i)) scratch.heap.push_back(*candidate);
  std::make_heap(scratch.heap.begin(), scratch.heap.end(), std::greater<>());

  while (!scratch.heap.empty()) {
    std::pop_heap(scratch.heap.begin(), scratch.heap.end(), std::greater<>());
    const Scratch::Candidate top = scratch.heap.back();
    scratch.heap.pop_back();
    Scratch::Symbol& symbol = at(top.position);
    if (symbol.id < 0 || symbol.next < 0) continue;
    Scratch::Symbol& after = at(symbol.next);
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
  for (int32_t i = 0; i >= 0; i = at(i).next) scratch.merged.push_back({at(i).id, i});
}

// Calls merge() once per different short segment, because words come again and again.
void BpeModel::merge_or_recall(Symbols symbols, uint64_t hash, Scratch& scratch,
                               std::vector<WordToken>& tokens) const {
  const auto append = [&](const std::vector<Scratch::Merged>& merged) {
    for (const auto& [id, position] : merged)
      tokens.push_back({id, symbols[static_cast<size_t>(position)].begin});
  };
  constexpr size_t longest_kept = 32, most_kept = size_t{1} << 16;
  if (symbols.size() > longest_kept) {
    merge(symbols, scratch);
    return append(scratch.merged);
  }
  const auto [from, to] = scratch.found.equal_range(hash);
  const auto known = std::find_if(from, to, [&](const auto& entry) {
    return std::equal(entry.second.symbols.begin(), entry.second.symbols.end(), symbols.begin(),
                      symbols.end(), [](int32_t id, const WordToken& symbol) { return id == symbol.id; });
  });
  if (known != to) return append(known->second.merged);
  merge(symbols, scratch);
  append(scratch.merged);
  if (scratch.found.size() >= most_kept) scratch.found.clear();
  std::vector<int32_t> ids;
  for (const auto& symbol : symbols) ids.push_back(symbol.id);
  scratch.found.emplace(hash, Scratch::Found{std::move(ids), scratch.merged});
}

void BpeModel::encode(std::string_view word, Workspace* workspace, std::vector<WordToken>& tokens) const {
  if (ignore_merges_)
    if (const auto id = vocabulary_.find(std::string(word))) return tokens.push_back({*id, 0});
  auto& scratch = static_cast<Scratch&>(*workspace);
  scratch.word.clear();
  append_symbols(word, scratch.word);
  const Symbols all = scratch.word;
  for (size_t begin = 0, end; begin < all.size(); begin = end) {
    uint64_t hash = static_cast<uint32_t>(all[begin].id);
    for (end = begin + 1; end < all.size() && joints_.find(all[end - 1].id, all[end].id); ++end)
      hash = (hash ^ static_cast<uint32_t>(all[end].id)) * 0x100000001b3u + end - begin;
    if (end == begin + 1)
      tokens.push_back(all[begin]);
    else
      merge_or_recall(all.subspan(begin, end - begin), hash, scratch, tokens);
  }
}

std::unique_ptr<TokenModel> make_bpe(const JsonPlace& model) {
  return std::make_unique<BpeModel>(model);
}

}  // namespace collie
