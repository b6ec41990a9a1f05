// A LLaMA in plain JavaScript: byte-level BPE, a forward pass that keeps what it has read, and the
// drawing of tokens. It reads a checkpoint as Hugging Face writes one: config.json, tokenizer.json,
// tokenizer_config.json, and model.safetensors in base64. Weights are widened to 32 bits, and
// sums are taken in 64.
"use strict";

window.asking = (() => {
  // --- text to tokens ----------------------------------------------------------------------------

  // GPT-2's: a word with the space before it, a number, signs, white space.
  const WORD =
    /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

  /** The character that stands for each byte in a byte-level vocabulary. */
  function byteCharacters() {
    const itself = (b) => (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173;
    let others = 256;
    return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(itself(b) ? b : others++));
  }

  class Tokenizer {
    constructor(file, settings) {
      this.characters = byteCharacters();
      const bytes = new Map(this.characters.map((character, byte) => [character, byte]));
      this.ids = new Map(Object.entries(file.model.vocab));
      this.ranks = new Map(
        file.model.merges.map((pair, rank) => [Array.isArray(pair) ? pair.join(" ") : pair, rank]),
      );
      this.bytes = []; // of each id
      for (const [token, id] of this.ids) {
        this.bytes[id] = Uint8Array.from(token, (character) => bytes.get(character) ?? 63);
      }
      this.special = new Map(file.added_tokens.map((token) => [token.content, token.id]));
      for (const id of this.special.values()) this.bytes[id] = new Uint8Array();
      const begin = settings.bos_token?.content ?? settings.bos_token;
      this.start = begin ? [this.special.get(begin)] : [];
    }

    /** Ids of a text; what looks like a special token is text here. */
    encode(text) {
      const ids = [];
      for (const [word] of text.matchAll(WORD)) {
        const bytes = new TextEncoder().encode(word);
        ids.push(...this.merge(Array.from(bytes, (byte) => this.characters[byte])));
      }
      return ids;
    }

    /** Parts of a word, joined pair by pair in the order in which the merges were learned. */
    merge(parts) {
      const rank = (i) => this.ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
      for (;;) {
        let best = -1;
        for (let i = 0; i + 1 < parts.length; i++) {
          if (rank(i) < (best < 0 ? Infinity : rank(best))) best = i;
        }
        if (best < 0) break;
        parts.splice(best, 2, parts[best] + parts[best + 1]);
      }
      return parts.map((part) => this.ids.get(part)).filter((id) => id !== undefined);
    }

    /** A function from one id after the other to the text that each completes: nothing for a
        special token, or for one in the midst of a character. */
    decoder() {
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      return (id) => decoder.decode(this.bytes[id] ?? new Uint8Array(), { stream: true });
    }
  }

  // --- weights -----------------------------------------------------------------------------------

  /** The tensors of a safetensors file (in base64) by name. */
  function tensors(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const head = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + head)));
    delete header.__metadata__;
    const found = {};
    for (const [name, { dtype, data_offsets }] of Object.entries(header)) {
      const [begin, end] = data_offsets.map((offset) => 8 + head + offset);
      found[name] = widened(bytes.buffer.slice(begin, end), dtype);
    }
    return found;
  }

  /** Numbers as 32-bit floats: bfloat16 is their upper half. */
  function widened(buffer, dtype) {
    if (dtype === "F32") return new Float32Array(buffer);
    if (dtype !== "BF16") throw new Error(`weights of type ${dtype}: not read here`);
    const halves = new Uint16Array(buffer);
    const bits = new Uint32Array(halves.length);
    for (let i = 0; i < halves.length; i++) bits[i] = halves[i] << 16;
    return new Float32Array(bits.buffer);
  }

  // --- the model ---------------------------------------------------------------------------------

  /** A matrix (rows by columns) times a vector: four rows at a time, which is what takes least. */
  function times(matrix, vector, rows, result = new Float64Array(rows)) {
    const columns = vector.length;
    let row = 0;
    for (; row + 3 < rows; row += 4) {
      const at = row * columns;
      let [a, b, c, d] = [0, 0, 0, 0];
      for (let i = 0; i < columns; i++) {
        const value = vector[i];
        a += matrix[at + i] * value;
        b += matrix[at + columns + i] * value;
        c += matrix[at + 2 * columns + i] * value;
        d += matrix[at + 3 * columns + i] * value;
      }
      result[row] = a;
      result[row + 1] = b;
      result[row + 2] = c;
      result[row + 3] = d;
    }
    for (; row < rows; row++) {
      result[row] = 0;
      for (let i = 0; i < columns; i++) result[row] += matrix[row * columns + i] * vector[i];
    }
    return result;
  }

  /** Root mean square normalisation. */
  function normed(states, scale, epsilon) {
    let squares = 0;
    for (let i = 0; i < states.length; i++) squares += states[i] * states[i];
    const factor = 1 / Math.sqrt(squares / states.length + epsilon);
    return states.map((state, i) => state * factor * scale[i]);
  }

  function add(states, more) {
    for (let i = 0; i < states.length; i++) states[i] += more[i];
  }

  /** Shares that logits give: they sum to one. */
  function softmax(logits) {
    const shares = new Float64Array(logits.length);
    const highest = logits[likeliest(logits)];
    let sum = 0;
    for (let i = 0; i < shares.length; i++) sum += shares[i] = Math.exp(logits[i] - highest);
    for (let i = 0; i < shares.length; i++) shares[i] /= sum;
    return shares;
  }

  /** Where the highest of some numbers stands, the first of equals. */
  function likeliest(logits) {
    let best = 0;
    for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
    return best;
  }

  class LanguageModel {
    constructor({ config, tokenizer, tokenizer_config, weights }) {
      const all = tensors(weights);
      const named = (name) => all[`model.${name}.weight`];
      this.tokenizer = new Tokenizer(tokenizer, tokenizer_config);
      this.width = config.hidden_size;
      this.inner = config.intermediate_size;
      this.heads = config.num_attention_heads;
      this.groups = config.num_key_value_heads;
      this.size = config.head_dim ?? this.width / this.heads; // of a head
      this.epsilon = config.rms_norm_eps;
      this.context = config.max_position_embeddings;
      this.vocabulary = config.vocab_size;
      this.ends = [config.eos_token_id].flat().filter((id) => id !== null);
      this.embeddings = named("embed_tokens");
      this.head = config.tie_word_embeddings ? this.embeddings : all["lm_head.weight"];
      this.norm = named("norm");
      this.layers = Array.from({ length: config.num_hidden_layers }, (_, i) => ({
        before: named(`layers.${i}.input_layernorm`),
        query: named(`layers.${i}.self_attn.q_proj`),
        key: named(`layers.${i}.self_attn.k_proj`),
        value: named(`layers.${i}.self_attn.v_proj`),
        out: named(`layers.${i}.self_attn.o_proj`),
        between: named(`layers.${i}.post_attention_layernorm`),
        gate: named(`layers.${i}.mlp.gate_proj`),
        up: named(`layers.${i}.mlp.up_proj`),
        down: named(`layers.${i}.mlp.down_proj`),
      }));
      // Rounded where 32-bit arithmetic rounds, so that angles are the same as elsewhere.
      const theta = config.rope_parameters.rope_theta;
      this.frequencies = Array.from({ length: this.size / 2 }, (_, i) =>
        Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / this.size))),
      );
    }

    /** What is kept of a text that is about to be read: keys and values, layer by layer. */
    begin() {
      const count = this.context * this.groups * this.size;
      const room = () => this.layers.map(() => new Float32Array(count));
      return { length: 0, keys: room(), values: room() };
    }

    /** Read ids after those that the memory holds. Returns the logits of what comes next. */
    read(memory, ids) {
      let states;
      for (const id of ids) states = this.step(memory, id);
      const last = normed(states, this.norm, this.epsilon);
      return times(this.head, last, this.vocabulary);
    }

    step(memory, id) {
      const row = this.embeddings.subarray(id * this.width, (id + 1) * this.width);
      const states = Float64Array.from(row);
      this.layers.forEach((layer, number) => {
        add(states, this.attend(layer, memory, number, normed(states, layer.before, this.epsilon)));
        add(states, this.transform(layer, normed(states, layer.between, this.epsilon)));
      });
      memory.length++;
      return states;
    }

    attend(layer, memory, number, states) {
      const { size, groups, heads } = this;
      const place = memory.length;
      const row = groups * size; // of keys and values, one a token
      const queries = times(layer.query, states, heads * size);
      const keys = memory.keys[number];
      const values = memory.values[number];
      const own = keys.subarray(place * row, (place + 1) * row);
      times(layer.key, states, row, own);
      times(layer.value, states, row, values.subarray(place * row, (place + 1) * row));
      this.turn(queries, place);
      this.turn(own, place);
      const mixed = new Float64Array(heads * size);
      for (let head = 0; head < heads; head++) {
        const query = queries.subarray(head * size, (head + 1) * size);
        const shift = Math.floor((head * groups) / heads) * size;
        const scores = new Float64Array(place + 1);
        for (let token = 0; token <= place; token++) {
          const from = token * row + shift;
          let sum = 0;
          for (let i = 0; i < size; i++) sum += query[i] * keys[from + i];
          scores[token] = sum / Math.sqrt(size);
        }
        const shares = softmax(scores);
        const result = mixed.subarray(head * size, (head + 1) * size);
        for (let token = 0; token <= place; token++) {
          const from = token * row + shift;
          for (let i = 0; i < size; i++) result[i] += shares[token] * values[from + i];
        }
      }
      return times(layer.out, mixed, this.width);
    }

    /** Rotary positions: turn each pair (i, i + half) of every head by an angle. */
    turn(vectors, place) {
      const half = this.size / 2;
      for (let i = 0; i < half; i++) {
        const angle = Math.fround(place * this.frequencies[i]);
        const cos = Math.cos(angle);
        const sin = Math.sin(angle);
        for (let a = i; a < vectors.length; a += this.size) {
          const [x, y] = [vectors[a], vectors[a + half]];
          vectors[a] = x * cos - y * sin;
          vectors[a + half] = y * cos + x * sin;
        }
      }
    }

    transform(layer, states) {
      const gate = times(layer.gate, states, this.inner);
      const up = times(layer.up, states, this.inner);
      for (let i = 0; i < gate.length; i++) gate[i] *= up[i] / (1 + Math.exp(-gate[i]));
      return times(layer.down, gate, this.width);
    }
  }

  // --- what is said next -------------------------------------------------------------------------

  /** What a model reads of a question, and the ids that end its answer. The untuned base is asked
      on a page of its own, the `layout`; others know the token that ends a turn. */
  function rendered({ tokenizer, ends }, question, layout) {
    if (layout) {
      const page = layout.replace("{prompt}", () => question);
      return { ids: [...tokenizer.start, ...tokenizer.encode(page)], ends };
    }
    const end = tokenizer.special.get("<|eot|>");
    return { ids: [...tokenizer.start, ...tokenizer.encode(question), end], ends: [end, ...ends] };
  }

  /** Ids from the likeliest on. */
  function ordered(logits) {
    return Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  }

  /** One token of the nucleus of mass `topP`: that in whose share, likeliest first, `uniform` (0 to
      1) falls. The likeliest at temperature 0. */
  function draw(logits, { temperature, topP }, uniform) {
    if (temperature === 0) return likeliest(logits);
    const shares = softmax(logits.map((logit) => logit / temperature));
    const order = ordered(logits);
    const mass = [];
    for (const id of order) {
      mass.push((mass.at(-1) ?? 0) + shares[id]);
      if (mass.at(-1) >= topP) break;
    }
    const threshold = uniform * mass.at(-1);
    return order[Math.max(0, mass.findIndex((sum) => sum > threshold))];
  }

  /** Continue ids: yields the logits of each next token and the token drawn from them, the one that
      ends the answer left out. */
  function* continued(model, ids, ends, settings, uniform = Math.random) {
    const { context } = model;
    let next = ids.slice(-(context - Math.min(settings.limit, Math.floor(context / 4))));
    const limit = Math.min(settings.limit, context - next.length);
    const memory = model.begin();
    for (let count = 0; count < limit; count++) {
      const logits = model.read(memory, next);
      const id = draw(logits, settings, uniform());
      if (ends.includes(id)) return true;
      yield { id, logits };
      next = [id];
    }
    return false;
  }

  return { LanguageModel, Tokenizer, continued, draw, likeliest, ordered, rendered, softmax };
})();
