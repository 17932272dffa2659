package yotpotd.interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.msgpack.core.MessagePack;
import org.msgpack.core.MessageUnpacker;
import org.msgpack.value.Value;

/** {@code yotpo-td sandbox} in a separate process, from YOTPO_TD_BIN. */
final class Sandbox implements AutoCloseable {
    private static final Pattern EXPORT = Pattern.compile("export ([A-Z_]+)='?([^']*?)'?");
    private static final List<String> VARIABLES = List.of("TD_API_KEY", "TD_API_SERVER", "TD_DATABASE");
    private static final int MOST_ROWS = 10_000;
    private static final Duration START = Duration.ofSeconds(30);
    private static final Duration STOP = Duration.ofSeconds(15);

    private final Process process;
    private final Map<String, String> environment = new ConcurrentHashMap<>();

    Sandbox(Path temporaryFolder) throws Exception {
        String binary = System.getenv("YOTPO_TD_BIN");
        if (binary == null) {
            throw new IllegalStateException("YOTPO_TD_BIN is not set; it must be the path of the program to test");
        }
        ProcessBuilder builder = new ProcessBuilder(
                binary,
                "sandbox",
                "--customers=1",
                "--seed=1",
                "--yotpo-listen=127.0.0.1:0",
                "--td-listen=127.0.0.1:0",
                "--requests-per-second=off");
        builder.environment().put("TMPDIR", temporaryFolder.toString());
        builder.redirectError(ProcessBuilder.Redirect.INHERIT);
        process = builder.start();
        process.getOutputStream().close();
        CompletableFuture<Void> listening = new CompletableFuture<>();
        Thread reader = new Thread(() -> read(process.inputReader(), listening), "sandbox's stdout");
        reader.setDaemon(true);
        reader.start();
        listening.get(START.toSeconds(), TimeUnit.SECONDS);
    }

    /** The value of a variable that the sandbox printed for export. */
    String get(String variable) {
        return environment.get(variable);
    }

    URI treasureData() {
        return URI.create(get("TD_API_SERVER"));
    }

    /** All committed rows of a table in the order in which they were loaded, through the tail call, which this client lacks. */
    List<Value> rows(String database, String table) throws IOException, InterruptedException {
        URI address = treasureData()
                .resolve("/v3/table/tail/" + database + "/" + table + "?format=msgpack&count=" + MOST_ROWS);
        HttpRequest request = HttpRequest.newBuilder(address)
                .header("Authorization", "TD1 " + get("TD_API_KEY"))
                .build();
        HttpResponse<InputStream> answer =
                HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofInputStream());
        if (answer.statusCode() != 200) {
            throw new IOException("status " + answer.statusCode() + " from " + address);
        }
        List<Value> rows = new ArrayList<>();
        try (MessageUnpacker stream = MessagePack.newDefaultUnpacker(answer.body())) {
            while (stream.hasNext()) {
                rows.add(stream.unpackValue());
            }
        }
        // The latest row comes first.
        Collections.reverse(rows);
        return rows;
    }

    /** Stops the sandbox as a service manager does and returns its exit status. */
    int stop() throws InterruptedException {
        process.destroy();
        if (!process.waitFor(STOP.toSeconds(), TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new AssertionError("still running " + STOP.toSeconds() + " s after SIGTERM");
        }
        return process.exitValue();
    }

    @Override
    public void close() {
        process.destroyForcibly();
    }

    private void read(BufferedReader stdout, CompletableFuture<Void> listening) {
        stdout.lines().forEach(line -> {
            Matcher export = EXPORT.matcher(line.strip());
            if (export.matches()) {
                environment.put(export.group(1), export.group(2));
            }
            if (environment.keySet().containsAll(VARIABLES)) {
                listening.complete(null);
            }
        });
        listening.completeExceptionally(new IOException("the sandbox exited before it listened"));
    }
}
