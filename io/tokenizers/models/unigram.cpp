// The most probable way to cut a word, by a probability for each token: Kudo, "Subword Regularization", ACL
// 2018, as the `tokenizers` library's model "Unigram" does it.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "io/tokenizers/models/byte_trie.hpp"
#include "io/tokenizers/models/models.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

class Unigram : public TokenModel {
 public:
  explicit Unigram(const JsonPlace& model) : byte_fallback_(model.flag("byte_fallback", false)) {
    read_vocabulary(model["vocab"]);
    if (const auto unknown = model.find("unk_id")) {
      const int64_t id = unknown->integer();
      if (id < 0 || id >= vocabulary_.size())
        unknown->refuse(fmt::format("id {} is not in the vocabulary, which has {}", id, vocabulary_.size()));
      unknown_ = static_cast<int32_t>(id);
    }
    for (unsigned byte = 0; byte < 256; ++byte) {
      const auto id = vocabulary_.find(fmt::format("<0x{:02X}>", byte));
      bytes_.push_back(id.value_or(-1));
    }
    std::vector<std::pair<std::string_view, int32_t>> strings;
    for (const auto& [token, id] : vocabulary_.ids()) strings.emplace_back(token, id);
    trie_ = std::make_unique<ByteTrie>(std::move(strings));
  }

  std::unique_ptr<Workspace> make_workspace() const override { return std::make_unique<Lattice>(); }

  void encode(std::string_view word, Workspace* workspace, std::vector<WordToken>& tokens) const override {
    auto& lattice = static_cast<Lattice&>(*workspace);
    find_best(word, lattice.best);
    auto& cuts = lattice.cuts;  // the tokens' ends, from the back
    cuts.clear();
    for (size_t end = word.size(); end > 0; end = lattice.best[end].begin) cuts.push_back(end);
    for (size_t i = cuts.size(); i-- > 0;) {
      const size_t begin = lattice.best[cuts[i]].begin;
      size_t end = cuts[i];
      const int32_t id = lattice.best[end].id;
      if (id != unknown_) {
        tokens.push_back({id, static_cast<uint32_t>(begin)});
        continue;
      }
      while (i > 0 && lattice.best[cuts[i - 1]].id == unknown_)
        end = cuts[--i];  // a run is one unknown token
      append_unknown(word, begin, end, tokens);
    }
  }

 private:
  struct Node {  // the best way to cut the bytes before it
    double score = 0;
    int32_t id = -1;
    size_t begin = none;  // of the last token
  };
  static constexpr size_t none = std::numeric_limits<size_t>::max();

  struct Lattice : Workspace {
    std::vector<Node> best;
    std::vector<size_t> cuts;
  };

  void read_vocabulary(const JsonPlace& list) {
    if (list.size() == 0) list.refuse("it must be a list of [token, score], with at least one");
    if (static_cast<int64_t>(list.size()) > most_token_ids)
      list.refuse(fmt::format("{} tokens; at most {} are supported", list.size(), most_token_ids));
    for (size_t i = 0; i < list.size(); ++i) {
      const nlohmann::json& entry = list.value()[i];
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
        list[i].refuse("it must be [token, score]");
      vocabulary_.append(entry[0].get_ref<const std::string&>());
      scores_.push_back(entry[1].get<double>());
      least_ = std::min(least_, scores_.back());
    }
  }

  // Viterbi: best[end] for each end of a character.
  void find_best(std::string_view word, std::vector<Node>& best) const {
    constexpr double unknown_penalty = 10;
    best.assign(word.size() + 1, Node());
    const auto offer = [&](size_t end, double score, size_t begin, int32_t id) {
      Node& node = best[end];
      if (node.begin == none || score > node.score) node = {score, id, begin};
    };
    for (size_t begin = 0, next = 0; begin < word.size(); begin = next) {
      next_code_point(word, next);
      const double before = best[begin].score;
      bool character_known = false;
      trie_->find_prefixes(word.substr(begin), [&](size_t bytes, int32_t id) {
        offer(begin + bytes, before + scores_[static_cast<size_t>(id)], begin, id);
        character_known = character_known || bytes == next - begin;
      });
      if (character_known) continue;
      if (unknown_ < 0)
        throw UserError("the tokenizer has no token for '{}' and no unk_id, so this text cannot be encoded",
                        word.substr(begin, next - begin));
      offer(next, before + least_ - unknown_penalty, begin, unknown_);
    }
  }

  void append_unknown(std::string_view word, size_t begin, size_t end, std::vector<WordToken>& tokens) const {
    const std::string_view run = word.substr(begin, end - begin);
    if (const auto id = vocabulary_.find(std::string(run))) {
      tokens.push_back({*id, static_cast<uint32_t>(begin)});
      return;
    }
    const auto id_of = [&](char byte) { return bytes_[static_cast<unsigned char>(byte)]; };
    if (byte_fallback_ && std::all_of(run.begin(), run.end(), [&](char byte) { return id_of(byte) >= 0; }))
      for (size_t i = begin; i < end; ++i) tokens.push_back({id_of(word[i]), static_cast<uint32_t>(i)});
    else
      tokens.push_back({unknown_, static_cast<uint32_t>(begin)});
  }

  std::vector<double> scores_;  // logarithms of probabilities, by id
  std::vector<int32_t> bytes_;  // [256] ids of "<0xNN>", -1 if there is none
  std::unique_ptr<ByteTrie> trie_;
  double least_ = std::numeric_limits<double>::infinity();
  int32_t unknown_ = -1;
  bool byte_fallback_;
};

}  // namespace

std::unique_ptr<TokenModel> make_unigram(const JsonPlace& model) {
  return std::make_unique<Unigram>(model);
}

}  // namespace collie
