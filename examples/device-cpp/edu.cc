// edu, the teaching device, as a program of its own: the binary form of docs/device-protocol.md in C++17.
//
//   g++ -std=c++17 -O2 -o edu edu.cc
//   outboard serve --device exec:./edu,dma-mask=0xffffffff --attach vfio-user,socket=edu.sock
//
// One thread: it waits in poll() for messages and for the end of the 100 ms that a transfer takes to begin.
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace {

// ---- The protocol ----

enum Type : uint8_t { READ = 1, WRITE, RESET, STATE, DONE, IRQ, MSI, DMA_READ, DMA_WRITE, LOG };

constexpr size_t HEADER = 16;
constexpr unsigned STATE_MSI = 4;

struct Message {
	uint8_t type = 0, bar = 0, width = 0;
	uint32_t id = 0, argument = 0;
	std::vector<uint8_t> body;
};

uint64_t get(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= uint64_t(p[i]) << (8 * i);
	return v;
}

void put(std::vector<uint8_t> &out, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		out.push_back(uint8_t(v >> (8 * i)));
}

void write_all(const void *data, size_t len)
{
	const char *p = static_cast<const char *>(data);

	while (len) {
		ssize_t n = ::write(STDOUT_FILENO, p, len);

		if (n <= 0)
			std::exit(1);
		p += n;
		len -= size_t(n);
	}
}

void send(Type type, uint32_t id, uint32_t argument, const std::vector<uint8_t> &body = {})
{
	std::vector<uint8_t> out;

	put(out, HEADER + body.size(), 4);
	put(out, type, 4); // the type; bar, width and the byte after them are 0
	put(out, id, 4);
	put(out, argument, 4);
	out.insert(out.end(), body.begin(), body.end());
	write_all(out.data(), out.size());
}

// What has been read and not yet used.
class Input {
      public:
	bool fill() // false: the end
	{
		uint8_t chunk[65536];
		ssize_t n = ::read(STDIN_FILENO, chunk, sizeof(chunk));

		if (n > 0)
			bytes.insert(bytes.end(), chunk, chunk + n);
		return n > 0;
	}
	bool take_line(std::string &line)
	{
		for (size_t i = 0; i < bytes.size(); i++) {
			if (bytes[i] != '\n')
				continue;
			line.assign(bytes.begin(), bytes.begin() + long(i));
			bytes.erase(bytes.begin(), bytes.begin() + long(i) + 1);
			return true;
		}
		return false;
	}
	bool take(Message &m)
	{
		size_t len = bytes.size() < HEADER ? HEADER : size_t(get(bytes.data(), 4));

		if (len < HEADER)
			std::exit(1); // no peer of ours
		if (bytes.size() < len)
			return false;
		m.type = bytes[4];
		m.bar = bytes[5];
		m.width = bytes[6];
		m.id = uint32_t(get(&bytes[8], 4));
		m.argument = uint32_t(get(&bytes[12], 4));
		m.body.assign(bytes.begin() + HEADER, bytes.begin() + long(len));
		bytes.erase(bytes.begin(), bytes.begin() + long(len));
		return true;
	}

      private:
	std::vector<uint8_t> bytes;
};

// ---- The device ----

constexpr uint64_t ALL_ONES = ~uint64_t(0);
constexpr uint64_t BUFFER_AT = 0x40000, BUFFER_LEN = 4096;
constexpr int64_t DMA_DELAY_MS = 100;
constexpr uint32_t WANTS_IRQ = 0x80;
constexpr uint32_t IRQ_FACTORIAL = 0x001, IRQ_DMA = 0x100;
constexpr uint64_t DMA_RUN = 1, DMA_TO_RAM = 2, DMA_IRQ = 4;

int64_t now_ms()
{
	timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return int64_t(t.tv_sec) * 1000 + t.tv_nsec / 1000000;
}

class Edu {
      public:
	explicit Edu(uint64_t dma_mask) : mask(dma_mask) {}

	int timeout_ms() const // until tick() has something to do; -1: for ever
	{
		int64_t left = begin_at - now_ms();

		return begin_at < 0 ? -1 : left > 0 ? int(left) : 0;
	}
	void tick()
	{
		if (begin_at >= 0 && now_ms() >= begin_at)
			begin();
	}
	void handle(const Message &m);

      private:
	uint64_t read(uint64_t off, unsigned width) const;
	void write(uint64_t off, uint64_t value, unsigned width);
	void write_dma(uint64_t off, uint64_t value);
	void begin();
	void transfer_done(const Message &m);
	void over();
	void compute(uint32_t n);
	void raise(uint32_t bits);
	void ack(uint32_t bits);
	void reset();

	uint64_t mask;
	bool has_msi = false;
	uint32_t live = 0, result = 0, status = 0, irq_status = 0;
	uint64_t src = 0, dst = 0, count = 0, cmd = 0;
	int64_t begin_at = -1;    // when the transfer asked for begins
	uint32_t transfer_id = 0; // of the one under way; 0: none
	uint32_t last_id = 0;
	uint8_t buffer[BUFFER_LEN] = {};
};

void Edu::raise(uint32_t bits)
{
	irq_status |= bits;
	if (!irq_status)
		return;
	if (has_msi)
		send(MSI, 0, 0);
	else
		send(IRQ, 0, 1);
}

void Edu::ack(uint32_t bits)
{
	irq_status &= ~bits;
	if (!irq_status)
		send(IRQ, 0, 0);
}

bool is_access(uint64_t off, unsigned width)
{
	return width == 4 || (width == 8 && off >= 0x80);
}

uint64_t Edu::read(uint64_t off, unsigned width) const
{
	if (!is_access(off, width))
		return ALL_ONES;
	switch (off) {
	case 0x00: return 0x010000ed;
	case 0x04: return live;
	case 0x08: return result;
	case 0x20: return status;
	case 0x24: return irq_status;
	case 0x80: return src;
	case 0x88: return dst;
	case 0x90: return count;
	case 0x98: return cmd;
	default: return ALL_ONES;
	}
}

// n! mod 2^32; from 34 on it is 0.
void Edu::compute(uint32_t n)
{
	result = 1;
	for (; n > 1 && result; n--)
		result *= n;
	if (status & WANTS_IRQ)
		raise(IRQ_FACTORIAL);
}

void Edu::write(uint64_t off, uint64_t value, unsigned width)
{
	if (!is_access(off, width))
		return;
	switch (off) {
	case 0x04: live = ~uint32_t(value); break;
	case 0x08: compute(uint32_t(value)); break;
	case 0x20: status = (status & ~WANTS_IRQ) | (uint32_t(value) & WANTS_IRQ); break;
	case 0x60: raise(uint32_t(value)); break;
	case 0x64: ack(uint32_t(value)); break;
	default: write_dma(off, value);
	}
}

void Edu::write_dma(uint64_t off, uint64_t value)
{
	if (cmd & DMA_RUN)
		return;
	switch (off) {
	case 0x80: src = value; break;
	case 0x88: dst = value; break;
	case 0x90: count = value; break;
	case 0x98:
		if (!(value & DMA_RUN))
			break;
		cmd = value;
		begin_at = now_ms() + DMA_DELAY_MS;
		break;
	}
}

void Edu::over()
{
	cmd &= ~DMA_RUN;
	if (cmd & DMA_IRQ)
		raise(IRQ_DMA);
}

void Edu::begin()
{
	bool to_ram = cmd & DMA_TO_RAM;
	uint64_t inside = to_ram ? src : dst, off = inside - BUFFER_AT;
	std::vector<uint8_t> body;

	begin_at = -1;
	if (inside < BUFFER_AT || off > BUFFER_LEN || count > BUFFER_LEN - off) {
		std::fprintf(stderr, "DMA of %#llx bytes at %#llx leaves the buffer\n",
			     static_cast<unsigned long long>(count), static_cast<unsigned long long>(inside));
		over();
		return;
	}
	if (!count) {
		over();
		return;
	}
	transfer_id = ++last_id ? last_id : ++last_id;
	put(body, (to_ram ? dst : src) & mask, 8);
	if (to_ram) {
		body.insert(body.end(), buffer + off, buffer + off + count);
		send(DMA_WRITE, transfer_id, 0, body);
	} else {
		send(DMA_READ, transfer_id, uint32_t(count), body);
	}
}

void Edu::transfer_done(const Message &m)
{
	if (m.id != transfer_id) // of before a reset
		return;
	transfer_id = 0;
	if (m.argument)
		std::fprintf(stderr, "DMA failed: %s\n", std::strerror(int(m.argument)));
	else if (!(cmd & DMA_TO_RAM) && m.body.size() == count)
		std::memcpy(buffer + (dst - BUFFER_AT), m.body.data(), m.body.size());
	over();
}

void Edu::reset()
{
	live = result = status = irq_status = 0;
	src = dst = count = cmd = 0;
	begin_at = -1;
	transfer_id = 0;
	std::memset(buffer, 0, sizeof(buffer));
}

void Edu::handle(const Message &m)
{
	std::vector<uint8_t> value;

	switch (m.type) {
	case READ:
		put(value, read(get(m.body.data(), 8), m.width), 8);
		send(DONE, m.id, 0, value);
		break;
	case WRITE: write(get(m.body.data(), 8), get(&m.body[8], 8), m.width); break;
	case RESET:
		reset();
		send(DONE, m.id, 0);
		break;
	case STATE: has_msi = m.argument & STATE_MSI; break;
	case DONE: transfer_done(m); break;
	default: break; // of a later protocol
	}
}

// The text of a property in the hello line; a number needs no JSON parser.
uint64_t property(const std::string &hello, const char *name, uint64_t otherwise)
{
	std::string key = std::string("\"") + name + "\":\"";
	size_t at = hello.find(key);

	return at == std::string::npos ? otherwise : std::strtoull(hello.c_str() + at + key.size(), nullptr, 0);
}

const char describe[] =
	R"({"op":"describe","protocol":1,"name":"edu-cpp","help":"edu as a program in C++",)"
	R"("vendor":"0x1234","device":"0x11e8","subsystem_vendor":"0x1af4","subsystem":"0x1100",)"
	R"("class":"0x00ff00","revision":16,"intx":1,"msi":1,"bars":[{"index":0,"size":1048576}],)"
	R"("properties":[{"name":"dma-mask","type":"uint","default":"0x0fffffff",)"
	R"("help":"bits of guest addresses that DMA can reach"}],"format":"binary"})"
	"\n";

} // namespace

int main()
{
	Input input;
	std::string hello;

	while (!input.take_line(hello)) {
		if (!input.fill())
			return 1;
	}
	write_all(describe, sizeof(describe) - 1);
	Edu edu(property(hello, "dma-mask", 0x0fffffff));
	for (;;) {
		pollfd p = {STDIN_FILENO, POLLIN, 0};
		Message m;

		while (input.take(m))
			edu.handle(m);
		edu.tick();
		if (poll(&p, 1, edu.timeout_ms()) > 0 && !input.fill())
			return 0; // Outboard closed our input: the end
	}
}
