#include "io/pickled_tensors.hpp"

#include <array>
#include <cstring>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

struct StorageType {
  const char* name;
  const char* dtype;
  int bits;
};
constexpr std::array<StorageType, 9> storage_types = {{{"FloatStorage", "F32", 32},
                                                       {"DoubleStorage", "F64", 64},
                                                       {"HalfStorage", "F16", 16},
                                                       {"BFloat16Storage", "BF16", 16},
                                                       {"LongStorage", "I64", 64},
                                                       {"IntStorage", "I32", 32},
                                                       {"ShortStorage", "I16", 16},
                                                       {"ByteStorage", "U8", 8},
                                                       {"BoolStorage", "BOOL", 8}}};

using ValueId = uint32_t;

// Values refer to each other by number, because a pickle may build circles.
struct PickledValue {
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    text,
    tuple,
    list,
    dict,
    storage_type,  // number: in storage_types
    rebuild_tensor,
    rebuild_parameter,
    ordered_dict,
    storage,  // items: type; text: key; number: elements
    tensor,   // number: in PickleReader::tensors_
    mark
  };
  Kind kind = Kind::none;
  int64_t number = 0;
  std::string_view text;       // in the pickle
  std::vector<ValueId> items;  // of a dict: key, value, key, value, ...
};
using PickledKind = PickledValue::Kind;

const char* words_of(PickledKind kind) {
  constexpr std::array<const char*, 15> words = {
      "None",   "a boolean",  "a whole number", "a number",   "a text",    "a tuple",  "a list", "a dict",
      "a type", "a function", "a function",     "a function", "a storage", "a tensor", "a mark"};
  return words[static_cast<size_t>(kind)];
}

class PickleReader {
 public:
  PickleReader(std::string_view pickle, const std::string& where) : pickle_(pickle), where_(where) {}

  std::vector<PickledTensor> read() {
    while (!stopped_) step();
    if (stack_.size() != 1) refuse("{} values are left at its end; one is right", stack_.size());
    if (at_ != pickle_.size()) refuse("{} bytes follow its end; none is right", pickle_.size() - at_);
    return named_tensors(stack_.front());
  }

 private:
  template <class... Arguments>
  [[noreturn]] void refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) const {
    throw UserError("{}, byte {}: {}", where_, operation_,
                    fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  // --- bytes

  std::string_view take(uint64_t count) {
    if (count > pickle_.size() - at_)
      refuse("it ends within an operation ({} bytes are wanted, {} are left)", count, pickle_.size() - at_);
    const std::string_view bytes = pickle_.substr(at_, static_cast<size_t>(count));
    at_ += static_cast<size_t>(count);
    return bytes;
  }
  template <class Number>
  Number take_number() {
    Number number;
    std::memcpy(&number, take(sizeof(number)).data(), sizeof(number));
    return number;
  }
  std::string_view take_line() {
    const size_t end = pickle_.find('\n', at_);
    if (end == std::string_view::npos) refuse("it ends within a name");
    const std::string_view line = take(end - at_);
    take(1);
    return line;
  }

  // --- the stack

  void push(ValueId id) {
    if (stack_.size() >= most_pickled_values)
      refuse("more than {} values are open at a time", most_pickled_values);
    stack_.push_back(id);
  }
  PickledValue& push_new(PickledKind kind) {
    if (values_.size() >= most_pickled_values)
      refuse("it builds more than {} values; a file of weights has fewer", most_pickled_values);
    values_.emplace_back().kind = kind;
    push(static_cast<ValueId>(values_.size() - 1));
    return values_.back();
  }
  ValueId pop() {
    if (stack_.empty()) refuse("a value is wanted, and there is none");
    const ValueId id = stack_.back();
    stack_.pop_back();
    return id;
  }
  ValueId top() const {
    if (stack_.empty()) refuse("a value is wanted, and there is none");
    return stack_.back();
  }
  std::vector<ValueId> pop_to_mark() {
    size_t first = stack_.size();
    while (first > 0 && values_[stack_[first - 1]].kind != PickledKind::mark) --first;
    if (first == 0) refuse("a mark is wanted, and there is none");
    std::vector<ValueId> items(stack_.begin() + static_cast<std::ptrdiff_t>(first), stack_.end());
    stack_.resize(first - 1);
    return items;
  }
  std::vector<ValueId> pop_many(size_t count) {
    std::vector<ValueId> items(count);
    while (count-- > 0) items[count] = pop();
    return items;
  }

  const PickledValue& expect(ValueId id, PickledKind kind, const char* what) const {
    if (values_[id].kind != kind)
      refuse("{} is {}; {} is right", what, words_of(values_[id].kind), words_of(kind));
    return values_[id];
  }

  // --- operations

  void step() {
    operation_ = at_;
    const auto code = take_number<uint8_t>();
    if (operation_ == 0 && code != 0x80)
      refuse("it does not begin with a protocol; a pickle of protocol 2 or later is right");
    switch (code) {
      case 0x80:
        return check_protocol();
      case 0x95:  // FRAME
        if (take_number<uint64_t>() > pickle_.size() - at_) refuse("a frame is longer than what is left");
        return;
      case '(':
        push_new(PickledKind::mark);
        return;
      case '.':
        stopped_ = true;
        return;
      case 'N':
        push_new(PickledKind::none);
        return;
      case 0x88:
      case 0x89:
        push_new(PickledKind::boolean).number = code == 0x88;
        return;
      case 'J':
        return push_integer(take_number<int32_t>());
      case 'K':
        return push_integer(take_number<uint8_t>());
      case 'M':
        return push_integer(take_number<uint16_t>());
      case 0x8a:  // LONG1
        return push_long(take(take_number<uint8_t>()));
      case 'G':
        take(8);
        push_new(PickledKind::real);
        return;
      case 'X':
        return push_text(take(take_number<uint32_t>()));
      case 0x8c:  // SHORT_BINUNICODE
        return push_text(take(take_number<uint8_t>()));
      case 0x8d:  // BINUNICODE8
        return push_text(take(take_number<uint64_t>()));
      case '}':
        push_new(PickledKind::dict);
        return;
      case ']':
        push_new(PickledKind::list);
        return;
      default:
        return step_with_values(code);
    }
  }

  // Those that take values from the stack, or remember them.
  void step_with_values(uint8_t code) {
    switch (code) {
      case ')':
        return push_tuple({});
      case 't':
        return push_tuple(pop_to_mark());
      case 0x85:
      case 0x86:
      case 0x87:  // TUPLE1, 2, 3
        return push_tuple(pop_many(code - 0x84));
      case 'a':
        return append(pop_many(1));
      case 'e':
        return append(pop_to_mark());
      case 's':
        return set_items(pop_many(2));
      case 'u':
        return set_items(pop_to_mark());
      case 'q':
        return remember(take_number<uint8_t>());
      case 'r':
        return remember(take_number<uint32_t>());
      case 0x94:  // MEMOIZE
        return remember(static_cast<uint32_t>(memory_.size()));
      case 'h':
        return recall(take_number<uint8_t>());
      case 'j':
        return recall(take_number<uint32_t>());
      case 'c': {
        const std::string_view module = take_line();
        return push_global(module, take_line());
      }
      case 0x93: {  // STACK_GLOBAL
        const auto names = pop_many(2);
        const std::string_view module = expect(names[0], PickledKind::text, "a module's name").text;
        return push_global(module, expect(names[1], PickledKind::text, "a name").text);
      }
      case 'R':
        return reduce();
      case 'b':
        return build();
      case 'Q':
        return push_storage(pop());
      default:
        refuse("operation 0x{:02x} is none that tensors need; save the model again, as safetensors", code);
    }
  }

  void check_protocol() {
    const auto protocol = take_number<uint8_t>();
    if (operation_ != 0 || protocol < 2 || protocol > 5)
      refuse("it says protocol {}; one of 2 to 5 is right, at its beginning", protocol);
  }

  void push_integer(int64_t number) { push_new(PickledKind::integer).number = number; }

  void push_long(std::string_view bytes) {  // two's complement
    if (bytes.size() > 8) refuse("a whole number of {} bytes; at most 8 are right", bytes.size());
    uint64_t number = !bytes.empty() && (bytes.back() & 0x80) ? ~uint64_t{0} : 0;
    std::memcpy(&number, bytes.data(), bytes.size());
    push_integer(static_cast<int64_t>(number));
  }

  void push_text(std::string_view text) {
    if (first_invalid_utf8(text)) refuse("a text is not UTF-8");
    push_new(PickledKind::text).text = text;
  }

  void push_tuple(std::vector<ValueId> items) { push_new(PickledKind::tuple).items = std::move(items); }

  void append(const std::vector<ValueId>& items) {
    expect(top(), PickledKind::list, "what is appended to");
    std::vector<ValueId>& list = values_[top()].items;
    list.insert(list.end(), items.begin(), items.end());
  }

  void set_items(const std::vector<ValueId>& items) {
    if (items.size() % 2 != 0) refuse("a key of a dict has no value");
    expect(top(), PickledKind::dict, "what has keys");
    std::vector<ValueId>& dict = values_[top()].items;
    dict.insert(dict.end(), items.begin(), items.end());
  }

  void remember(uint32_t place) {
    if (memory_.size() >= most_pickled_values)
      refuse("it remembers more than {} values", most_pickled_values);
    memory_[place] = top();
  }

  void recall(uint32_t place) {
    const auto found = memory_.find(place);
    if (found == memory_.end()) refuse("value {} is wanted again, and was never remembered", place);
    push(found->second);
  }

  void push_global(std::string_view module, std::string_view name) {
    if (module == "collections" && name == "OrderedDict") return void(push_new(PickledKind::ordered_dict));
    if (module == "torch._utils" && name == "_rebuild_tensor_v2")
      return void(push_new(PickledKind::rebuild_tensor));
    if (module == "torch._utils" && name == "_rebuild_parameter")
      return void(push_new(PickledKind::rebuild_parameter));
    for (size_t i = 0; module == "torch" && i < storage_types.size(); ++i)
      if (name == storage_types[i].name) {
        push_new(PickledKind::storage_type).number = static_cast<int64_t>(i);
        return;
      }
    refuse(
        "it names {}.{}, which is not read: a name may run code. Tensors of common dtypes and OrderedDict "
        "are "
        "right; save the model again, as safetensors",
        shortened(module), shortened(name));
  }

  void reduce() {
    const ValueId arguments = pop(), function = pop();
    const std::vector<ValueId> items = expect(arguments, PickledKind::tuple, "what a function gets").items;
    switch (values_[function].kind) {
      case PickledKind::ordered_dict:
        if (!items.empty()) refuse("OrderedDict gets {} arguments; none is right", items.size());
        push_new(PickledKind::dict);
        return;
      case PickledKind::rebuild_tensor:
        return rebuild_tensor(items);
      case PickledKind::rebuild_parameter:
        if (items.size() != 3) refuse("_rebuild_parameter gets {} arguments; 3 are right", items.size());
        expect(items[0], PickledKind::tensor, "a parameter's data");
        return push(items[0]);
      default:
        refuse("{} is called; a function is right", words_of(values_[function].kind));
    }
  }

  // Attributes of an OrderedDict, such as the versions of modules, are not needed.
  void build() {
    const ValueId state = pop();
    expect(state, PickledKind::dict, "what an object gets");
    expect(top(), PickledKind::dict, "what gets attributes");
  }

  // ("storage", type, key, device, elements)
  void push_storage(ValueId id) {
    const std::vector<ValueId> items = expect(id, PickledKind::tuple, "what names a storage").items;
    if (items.size() != 5) refuse("a storage is named by {} values; 5 are right", items.size());
    if (expect(items[0], PickledKind::text, "the kind of a persistent value").text != "storage")
      refuse("a persistent value is '{}'; storage is right", shortened(values_[items[0]].text));
    expect(items[1], PickledKind::storage_type, "the type of a storage");
    const std::string_view key = expect(items[2], PickledKind::text, "the key of a storage").text;
    const int64_t elements = expect(items[4], PickledKind::integer, "the size of a storage").number;
    if (elements < 0) refuse("storage '{}' has {} elements", shortened(key), elements);
    PickledValue& storage = push_new(PickledKind::storage);
    storage.text = key;
    storage.number = elements;
    storage.items = {items[1]};
  }

  std::vector<int64_t> sizes(ValueId id, const char* what) const {
    std::vector<int64_t> all;
    for (const ValueId item : expect(id, PickledKind::tuple, what).items) {
      all.push_back(expect(item, PickledKind::integer, what).number);
      if (all.back() < 0) refuse("{} holds {}; at least 0 is right", what, all.back());
    }
    return all;
  }

  // (storage, offset, shape, strides, requires_grad, backward_hooks[, metadata])
  void rebuild_tensor(const std::vector<ValueId>& items) {
    if (items.size() != 6 && items.size() != 7)
      refuse("_rebuild_tensor_v2 gets {} arguments; 6 or 7 are right", items.size());
    const PickledValue& storage = expect(items[0], PickledKind::storage, "a tensor's data");
    const StorageType& type = storage_types[static_cast<size_t>(values_[storage.items[0]].number)];
    PickledTensor tensor;
    tensor.dtype = type.dtype;
    tensor.element_bits = type.bits;
    tensor.storage = storage.text;
    tensor.storage_elements = storage.number;
    tensor.offset = expect(items[1], PickledKind::integer, "a tensor's offset").number;
    tensor.shape = sizes(items[2], "a tensor's shape");
    tensor.strides = sizes(items[3], "a tensor's strides");
    if (tensor.offset < 0) refuse("a tensor's offset is {}; at least 0 is right", tensor.offset);
    if (tensor.shape.size() != tensor.strides.size() || tensor.shape.size() > most_axes)
      refuse("a tensor has {} sizes and {} strides; as many, and at most {}, are right", tensor.shape.size(),
             tensor.strides.size(), most_axes);
    if (items.size() == 7 && values_[items[6]].kind != PickledKind::none && !values_[items[6]].items.empty())
      refuse("a tensor has metadata (conjugated or negated); none is right");
    push_new(PickledKind::tensor).number = static_cast<int64_t>(tensors_.size());
    tensors_.push_back(std::move(tensor));
  }

  std::vector<PickledTensor> named_tensors(ValueId id) const {
    const std::vector<ValueId>& items = expect(id, PickledKind::dict, "the file's value").items;
    std::vector<PickledTensor> all;
    std::set<std::string_view> names;
    for (size_t i = 0; i < items.size(); i += 2) {
      const std::string_view name = expect(items[i], PickledKind::text, "a key of the file's dict").text;
      if (values_[items[i + 1]].kind != PickledKind::tensor)
        refuse("'{}' is {}; a tensor is right: the file must be a model's state_dict()", shortened(name),
               words_of(values_[items[i + 1]].kind));
      if (!names.insert(name).second) refuse("tensor '{}' is there twice", shortened(name));
      all.push_back(tensors_[static_cast<size_t>(values_[items[i + 1]].number)]);
      all.back().name = name;
    }
    return all;
  }

  static constexpr size_t most_axes = 16;

  const std::string_view pickle_;
  const std::string& where_;
  size_t at_ = 0, operation_ = 0;
  bool stopped_ = false;
  std::vector<PickledValue> values_;
  std::vector<ValueId> stack_;
  std::unordered_map<uint32_t, ValueId> memory_;
  std::vector<PickledTensor> tensors_;
};

}  // namespace

std::vector<PickledTensor> read_pickled_tensors(std::string_view pickle, const std::string& where) {
  return PickleReader(pickle, where).read();
}

}  // namespace collie
